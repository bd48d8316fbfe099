"""How a photo becomes the input of a network, and how to undo it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ttame.errors import ClassifierError
from ttame.images.band_photo import Picture
from ttame.images.library_transforms import processor_fields, timm_fields, torchvision_fields
from ttame.images.network_channels import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Channels,
    channels_in_words,
    drawn,
    number_of_channels,
    parse_channels,
    planes_for,
    refuse_bands,
    settled_channels,
    statistics_for,
)
from ttame.images.photo_crop import PhotoCrop, PhotoRegion

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]

_PIL_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


_COLOUR_FIELDS: Mapping[str, Any] = {
    "channels": "rgb",
    "band_scale": None,
    "display_bands": None,
}
"""Fields that files of networks for red, green and blue need not have."""


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """The preprocessing that belongs to a network's weights.

    A photo is resized, cropped to ``input_size``, scaled to [0, 1] and normalised.

    Attributes:
        input_size: (H, W) of the network's input in pixels.
        resize: an int resizes the shorter side to that many pixels and keeps the aspect ratio;
            a pair resizes to exactly (H, W); ``"pad"`` makes the whole photo fit into
            ``input_size``, and what is left over black.
        mean: per channel, of pixels in [0, 1]. If not given, ImageNet's for red, green and blue,
            the mean of these three for grey; 0 for opacity and for bands.
        std: per channel, positive. If not given, as ``mean``, but 1 for opacity and for bands.
        interpolation: how the photo is resized (antialiased, by Pillow).
        channels: what the C channels of the input are: ``"rgb"``; ``"grey"``, which photos are
            turned into; ``"rgba"``, with opacity as the fourth; or a number of bands, which come
            as arrays from ``.npy`` or TIFF files. If not given, what ``mean`` has numbers for.
        band_scale: what the numbers of arrays are divided by, e.g. 10000; if not given, the
            largest number of their integer type, and 1 for floats.
        display_bands: numbers of the bands, from 0, that are drawn as red, green and blue, or of
            one drawn as grey; the mean of all bands as grey if not given.

    Raises:
        ClassifierError: a size below 1, a standard deviation that is not positive, or numbers
            that do not fit the channels.

    Example:
        >>> preprocessing = Preprocessing.imagenet(224)
        >>> preprocessing.prepare(Image.new("RGB", (640, 480))).shape
        torch.Size([3, 224, 224])
        >>> Preprocessing((28, 28), 28, channels="grey").mean
        (0.449,)
    """

    input_size: tuple[int, int]
    resize: int | tuple[int, int] | Literal["pad"]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    interpolation: Interpolation = "bilinear"
    channels: Channels = None  # type: ignore[assignment]  # filled in below
    band_scale: float | None = None
    display_bands: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        # Lists and arrays, as other libraries hold them, would not be hashable.
        for name in ("input_size", "mean", "std", "resize", "display_bands"):
            if name not in ("resize", "display_bands") or not isinstance(
                getattr(self, name), int | str | None
            ):
                object.__setattr__(self, name, self._as_tuple(name))
        if min(self.input_size + self.resized_sides()) < 1:
            raise ClassifierError(
                f"preprocessing with input size {self.input_size} and resize {self.resize}",
                allowed="sizes of at least 1 pixel",
            )
        settled = settled_channels(self.channels, self.mean, self.std)
        for name, value in zip(("channels", "mean", "std"), settled, strict=True):
            object.__setattr__(self, name, value)
        refuse_bands(settled[0], self.band_scale, self.display_bands)
        if self.interpolation not in _PIL_FILTERS:
            raise ClassifierError(
                f"interpolation {self.interpolation!r}", allowed=", ".join(_PIL_FILTERS)
            )

    @property
    def number_of_channels(self) -> int:
        """C, of the network's input."""
        return number_of_channels(self.channels)

    @property
    def crop(self) -> PhotoCrop:
        """Which part of a photo the network sees."""
        return PhotoCrop(self.input_size, self.resize)

    def for_channels(self, channels: Channels | str) -> Preprocessing:
        """The same preprocessing for other channels.

        Grey gets the mean of the numbers of red, green and blue; opacity, and bands, the mean 0
        and the standard deviation 1.

        Example:
            >>> Preprocessing.imagenet(28).for_channels("grey").std
            (0.226,)
        """
        wanted = parse_channels(channels)
        if wanted == self.channels:
            return self
        mean, std = (self.mean, self.std) if self.channels == "rgb" else ((), ())
        return dataclasses.replace(
            self,
            channels=wanted,
            mean=statistics_for(wanted, mean or IMAGENET_MEAN, 0.0),
            std=statistics_for(wanted, std or IMAGENET_STD, 1.0),
            display_bands=None,
        )

    def resized_sides(self) -> tuple[int, ...]:
        """The sides in pixels that ``resize`` names: one, two, or none with ``"pad"``."""
        if isinstance(self.resize, int):
            return (self.resize,)
        return () if self.resize == "pad" else self.resize

    def _as_tuple(self, name: str) -> tuple[Any, ...]:
        value = getattr(self, name)
        number = float if name in ("mean", "std") else int
        try:
            values = tuple(number(part) for part in value)
        except (TypeError, ValueError) as problem:
            raise ClassifierError(
                f"preprocessing with {name} {value!r}", allowed="a sequence of numbers"
            ) from problem
        if name in ("input_size", "resize") and len(values) != 2:
            raise ClassifierError(
                f"preprocessing with {name} {value!r}", allowed="(height, width) in pixels"
            )
        return values

    @classmethod
    def imagenet(cls, size: int | tuple[int, int] = 224) -> Preprocessing:
        """The usual ImageNet evaluation: shorter side to 8/7 of ``size``, centre crop.

        Args:
            size: the size of the network's input in pixels, or (H, W); then the photo is resized to
                8/7 of both, whatever its aspect ratio.

        Example:
            >>> Preprocessing.imagenet(224).resize
            256
            >>> Preprocessing.imagenet((112, 224)).resize
            (128, 256)
        """
        if isinstance(size, int):
            return cls(input_size=(size, size), resize=round(size * 8 / 7))
        height, width = size
        return cls(input_size=size, resize=(round(height * 8 / 7), round(width * 8 / 7)))

    @classmethod
    def from_torchvision(cls, transform: Any) -> Preprocessing:
        """Read the evaluation transform that a network was trained with.

        Args:
            transform: a transform of torchvision: ``Resize``, ``CenterCrop``, one that makes a
                tensor and ``Normalize``, in a ``Compose`` (also of ``transforms.v2``); or the
                transform of published weights, ``weights.transforms()``.

        Raises:
            ClassifierError: it does something else to a photo; the message names it.

        Example:
            >>> from torchvision import transforms as T
            >>> transform = T.Compose([
            ...     T.Resize((192, 192)), T.ToTensor(), T.Normalize([0.5] * 3, [0.5] * 3)])
            >>> preprocessing = Preprocessing.from_torchvision(transform)
            >>> preprocessing.resize, preprocessing.mean
            ((192, 192), (0.5, 0.5, 0.5))
        """
        return cls(**torchvision_fields(transform))

    @classmethod
    def from_timm(cls, data_config: Mapping[str, Any]) -> Preprocessing:
        """Read a data configuration of timm.

        Args:
            data_config: what ``timm.data.resolve_model_data_config(network)`` returns.

        Raises:
            ClassifierError: an entry is missing.

        Example:
            >>> config = {"input_size": (3, 224, 224), "crop_pct": 0.875, "crop_mode": "center",
            ...           "interpolation": "bicubic", "mean": (0.5,) * 3, "std": (0.5,) * 3}
            >>> Preprocessing.from_timm(config).resize
            256
        """
        return cls(**timm_fields(data_config))

    @classmethod
    def from_processor(cls, image_processor: Any) -> Preprocessing:
        """Read an image processor of transformers, by what it makes of plain photos.

        Args:
            image_processor: what ``AutoImageProcessor.from_pretrained(...)`` returns.

        Raises:
            ClassifierError: it makes something other than (3, H, W) of a photo, does not resize, or
                reverses the channels.
        """
        fields, reversed_channels = processor_fields(image_processor)
        if reversed_channels:
            raise ClassifierError(
                "an image processor that reverses the channels to blue, green, red",
                remedy='ttame.load_classifier("hf/FOLDER"), which reverses them in the network',
            )
        if fields["input_size"] is None:
            raise ClassifierError(
                "an image processor that does not resize, so that the input size is unknown",
                remedy="ttame.Preprocessing(input_size=..., resize=..., mean=..., std=...)",
            )
        return cls(**fields)

    def prepare(
        self, photo: Picture, *, crop_at: tuple[float, float] = (0.5, 0.5), flip: bool = False
    ) -> Tensor:
        """Turn a photo into one network input.

        Args:
            photo: an upright photo of any mode and size, or a picture of bands.
            crop_at: (vertical, horizontal) position of the crop in [0, 1]; (0.5, 0.5) is the
                centre. Training draws it at random.
            flip: mirror left and right.

        Returns:
            (C, H, W) float32, normalised.

        Raises:
            ImageError: a picture of other bands than the network's.
        """
        return self.normalise(self.pixels(photo, crop_at=crop_at, flip=flip))

    def pixels(
        self, photo: Picture, *, crop_at: tuple[float, float] = (0.5, 0.5), flip: bool = False
    ) -> Tensor:
        """Resize and crop a photo without normalising it.

        Returns:
            (C, H, W) float32, of photos in [0, 1].

        Raises:
            ImageError: as :meth:`prepare`.
        """
        planes = planes_for(photo, self.channels, self.band_scale)
        cut = [self.crop.cut(plane, _PIL_FILTERS[self.interpolation], crop_at) for plane in planes]
        if flip:
            cut = [plane.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for plane in cut]
        if planes[0].mode == "F":
            return torch.from_numpy(np.stack([np.array(plane) for plane in cut]))
        pixels = torch.from_numpy(np.array(cut[0], dtype=np.uint8))
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        return pixels.permute(2, 0, 1).float() / 255

    def drawn(self, photo: Picture) -> Image.Image:
        """A photo as RGB to look at, in its own size and frame.

        Photos come as they are, with transparency laid on white; of bands, the display bands.

        Raises:
            ImageError: a display band that the picture does not have.
        """
        return drawn(photo, self.channels, self.display_bands)

    def crop_mask(self, mask: np.ndarray) -> Tensor:
        """Resize and centre-crop what is marked in a photo, as :meth:`prepare` does the photo.

        Args:
            mask: (height, width) bool, in pixels of the photo.

        Returns:
            (H, W) bool; False where the network sees black padding.

        Example:
            >>> mask = np.zeros((256, 512), dtype=bool)
            >>> mask[:, 256:] = True
            >>> Preprocessing.imagenet(224).crop_mask(mask)[0, 110:114]
            tensor([False, False,  True,  True])
        """
        picture = Image.fromarray(mask.astype(np.uint8))
        cropped = self.crop.cut(picture, Image.Resampling.NEAREST)
        return torch.from_numpy(np.array(cropped, dtype=bool))

    def region(self, photo_size: tuple[int, int]) -> PhotoRegion:
        """Say which part of a photo the centre-cropped network input shows.

        Args:
            photo_size: (width, height) in pixels, as PIL gives it.

        Example:
            >>> Preprocessing.imagenet(224).region((256, 512))
            PhotoRegion(left=16.0, top=144.0, right=240.0, bottom=368.0)
        """
        return self.crop.region(photo_size)

    def normalise(self, pixels: Tensor) -> Tensor:
        """``(pixels − mean) / std`` per channel.

        Args:
            pixels: (..., C, H, W) float in [0, 1].
        """
        mean, std = self._statistics(pixels)
        return (pixels - mean) / std

    def denormalise(self, images: Tensor) -> Tensor:
        """``images · std + mean`` per channel, the inverse of :meth:`normalise`.

        Args:
            images: (..., C, H, W) float, normalised.
        """
        mean, std = self._statistics(images)
        return images * std + mean

    def black(self, like: Tensor) -> Tensor:
        """What a black pixel becomes: ``−mean / std``, (C, 1, 1), dtype and device of ``like``."""
        mean, std = self._statistics(like)
        return -mean / std

    def as_json(self) -> dict[str, Any]:
        """Return plain lists and numbers, for a JSON file."""
        content = dataclasses.asdict(self)
        usual = {name for name, value in _COLOUR_FIELDS.items() if content[name] == value}
        return {name: value for name, value in content.items() if name not in usual}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Preprocessing:
        """Read what :meth:`as_json` wrote.

        Raises:
            ClassifierError: a field is missing, unknown or out of range.
        """
        content = {**_COLOUR_FIELDS, **content}
        names = {field.name for field in dataclasses.fields(cls)}
        if set(content) != names:
            raise ClassifierError(
                f"preprocessing with the fields {sorted(content)}", allowed=f"{sorted(names)}"
            )
        values = {key: tuple(v) if isinstance(v, list) else v for key, v in content.items()}
        return cls(**values)  # type: ignore[arg-type]  # __post_init__ checks them

    def in_words(self) -> str:
        """One line to read: sizes, interpolation, mean and std."""
        mean = ", ".join(f"{value:.3g}" for value in self.mean)
        std = ", ".join(f"{value:.3g}" for value in self.std)
        resize, crop = self.crop.in_words()
        words = f"{resize} ({self.interpolation}), {crop}, mean ({mean}), std ({std})"
        colours = channels_in_words(self.channels, self.band_scale, self.display_bands)
        return f"{colours}, {words}" if colours else words

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        return _statistics(self.mean, self.std, like.dtype, like.device)


@functools.lru_cache(maxsize=64)
def _statistics(
    mean: tuple[float, ...], std: tuple[float, ...], dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Mean and std as (C, 1, 1) tensors, kept: every training step asks for the same ones."""
    shape = (len(mean), 1, 1)
    return (
        torch.tensor(mean, dtype=dtype, device=device).reshape(shape),
        torch.tensor(std, dtype=dtype, device=device).reshape(shape),
    )
