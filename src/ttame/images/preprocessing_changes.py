"""What somebody says of a network's preprocessing: another mean, another way of resizing."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from ttame.errors import ClassifierError
from ttame.images.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Interpolation,
    Preprocessing,
)


@dataclasses.dataclass(frozen=True)
class PreprocessingChanges:
    """Parts of a :class:`Preprocessing`; ``None`` leaves a part as it is.

    Attributes:
        mean: per channel, of pixels in [0, 1].
        std: per channel.
        interpolation: how photos are resized.
        resize: as in ``Preprocessing``; ``"squash"`` resizes to the input size, whatever the
            photo's aspect ratio, so that nothing is cropped.
        crop_share: which share of the shorter side the crop keeps, above 0 and at most 1: another
            way of saying ``resize``.

    Raises:
        ClassifierError: ``resize`` and ``crop_share`` together, or a share out of range.

    Example:
        >>> changes = PreprocessingChanges(mean=(0.5,) * 3, resize="squash")
        >>> changed = changes.applied_to(Preprocessing.imagenet(192))
        >>> changed.resize, changed.mean
        ((192, 192), (0.5, 0.5, 0.5))
    """

    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    interpolation: Interpolation | None = None
    resize: int | tuple[int, int] | Literal["pad", "squash"] | None = None
    crop_share: float | None = None

    def __post_init__(self) -> None:
        if self.resize is not None and self.crop_share is not None:
            raise ClassifierError("both a resize and a crop share", allowed="one of them")
        if self.crop_share is not None and not 0 < self.crop_share <= 1:
            raise ClassifierError(
                f"crop share {self.crop_share}", allowed="above 0 and at most 1, e.g. 0.875"
            )

    def applied_to(self, preprocessing: Preprocessing) -> Preprocessing:
        """The preprocessing with these parts instead of its own."""
        resize = self._resize(preprocessing.input_size)
        said = {
            "mean": self.mean,
            "std": self.std,
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
        return self.applied_to(Preprocessing(input_size, shorter, IMAGENET_MEAN, IMAGENET_STD))

    def _resize(self, input_size: tuple[int, int]) -> int | tuple[int, int] | Literal["pad"] | None:
        if self.resize == "squash":
            return input_size
        if self.crop_share is None:
            return self.resize
        height, width = (int(side / self.crop_share) for side in input_size)
        return height if height == width else (height, width)
