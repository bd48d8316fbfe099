"""What somebody says of a network's preprocessing: another mean, another way of resizing."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from ttame.errors import ClassifierError
from ttame.images.network_channels import Channels, parse_channels, photo_channels
from ttame.images.preprocessing import Interpolation, Preprocessing


@dataclasses.dataclass(frozen=True)
class PreprocessingChanges:
    """Parts of a :class:`Preprocessing`; ``None`` leaves a part as it is.

    Attributes:
        mean: per channel, of pixels in [0, 1]; one number counts for all channels.
        std: per channel, or one number for all.
        interpolation: how photos are resized.
        resize: as in ``Preprocessing``; ``"squash"`` resizes to the input size, whatever the
            photo's aspect ratio, so that nothing is cropped.
        crop_share: which share of the shorter side the crop keeps, above 0 and at most 1: another
            way of saying ``resize``.
        channels: ``"rgb"``, ``"grey"``, ``"rgba"`` or a number of bands; if not given, what the
            network has, or as many as ``mean`` or ``std`` has numbers, if more than one.
        band_scale: as in ``Preprocessing``.
        display_bands: as in ``Preprocessing``.

    Raises:
        ClassifierError: ``resize`` and ``crop_share`` together, or a share out of range.

    Example:
        >>> changes = PreprocessingChanges(mean=(0.5,) * 3, resize="squash")
        >>> changed = changes.applied_to(Preprocessing.imagenet(192))
        >>> changed.resize, changed.mean
        ((192, 192), (0.5, 0.5, 0.5))
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    interpolation: Interpolation | None = None
    resize: int | tuple[int, int] | Literal["pad", "squash"] | None = None
    crop_share: float | None = None
    channels: Channels | str | None = None
    band_scale: float | None = None
    display_bands: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.resize is not None and self.crop_share is not None:
            raise ClassifierError("both a resize and a crop share", allowed="one of them")
        if self.crop_share is not None and not 0 < self.crop_share <= 1:
            raise ClassifierError(
                f"crop share {self.crop_share}", allowed="above 0 and at most 1, e.g. 0.875"
            )

    def applied_to(self, preprocessing: Preprocessing) -> Preprocessing:
        """The preprocessing with these parts instead of its own."""
        channels = self._channels()
        if channels is not None:
            preprocessing = preprocessing.for_channels(channels)
        resize = self._resize(preprocessing.input_size)
        number = preprocessing.number_of_channels
        said = {
            "mean": _of_each(self.mean, number),
            "std": _of_each(self.std, number),
            "band_scale": self.band_scale,
            "display_bands": self.display_bands,
            "interpolation": self.interpolation,
            "resize": resize,
        }
        changed: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
        return dataclasses.replace(preprocessing, **changed)

    def complete(self, input_size: tuple[int, int] | None) -> Preprocessing | None:
        """The whole preprocessing, of a network of which nothing else is known.

        Args:
            input_size: (H, W).

        Returns:
            ``None`` where the size, the mean or the deviation was not said. Without a word on
            resizing, the shorter side is resized to the input size: no more than needed is
            cropped.
        """
        if input_size is None or self.mean is None or self.std is None:
            return None
        shorter: int | tuple[int, int] = input_size
        if input_size[0] == input_size[1]:
            shorter = input_size[0]
        return self.applied_to(Preprocessing(input_size, shorter))

    def _channels(self) -> Channels | None:
        if self.channels is not None:
            return parse_channels(self.channels)
        numbers = max(len(self.mean or ()), len(self.std or ()))
        return photo_channels(numbers) if numbers > 1 else None

    def _resize(self, input_size: tuple[int, int]) -> int | tuple[int, int] | Literal["pad"] | None:
        if self.resize == "squash":
            return input_size
        if self.crop_share is None:
            return self.resize
        height, width = (int(side / self.crop_share) for side in input_size)
        return height if height == width else (height, width)


def _of_each(values: tuple[float, ...] | None, number: int) -> tuple[float, ...] | None:
    """One number for each channel."""
    return values * number if values is not None and len(values) == 1 else values
