"""How a photo becomes the input of a network, and how to undo it."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ttame.errors import ClassifierError

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

LARGEST_RESIZED = 2**25
"""Pixels. Of photos that would be larger after resizing only the part that is cropped is resized:
with a shorter side of 256, those that are 512 times as long as high."""

_WIDEST_FILTER = 3
"""Pixels that a filter looks to either side, Lanczos' own; of the larger grid when shrinking."""

_PIL_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclasses.dataclass(frozen=True)
class PhotoRegion:
    """The rectangle of a photo that a network saw, in pixels of the photo as it was opened.

    ``left``/``top`` are inclusive, ``right``/``bottom`` exclusive; fractions of a pixel are kept.
    Values outside the photo mean that the network saw black padding there.
    """

    left: float
    top: float
    right: float
    bottom: float


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """The preprocessing that belongs to a network's weights.

    A photo is resized, cropped to ``input_size``, scaled to [0, 1] and normalised.

    Attributes:
        input_size: (H, W) of the network's input in pixels.
        resize: an int resizes the shorter side to that many pixels and keeps the aspect ratio;
            a pair resizes to exactly (H, W).
        mean: per channel (red, green, blue), of pixels in [0, 1].
        std: per channel, positive.
        interpolation: how the photo is resized (antialiased, by Pillow).

    Raises:
        ClassifierError: a size below 1 or a standard deviation that is not positive.

    Example:
        >>> preprocessing = Preprocessing.imagenet(224)
        >>> preprocessing.prepare(Image.new("RGB", (640, 480))).shape
        torch.Size([3, 224, 224])
    """

    input_size: tuple[int, int]
    resize: int | tuple[int, int]
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        # Lists and arrays, as other libraries hold them, would not be hashable.
        for name in ("input_size", "mean", "std"):
            object.__setattr__(self, name, self._as_tuple(name))
        if not isinstance(self.resize, int):
            object.__setattr__(self, "resize", self._as_tuple("resize"))
        sides = [*self.input_size]
        sides += [self.resize] if isinstance(self.resize, int) else [*self.resize]
        if min(sides) < 1:
            raise ClassifierError(
                f"preprocessing with input size {self.input_size} and resize {self.resize}",
                allowed="sizes of at least 1 pixel",
            )
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ClassifierError(
                f"preprocessing with mean {self.mean} and std {self.std}",
                allowed="three means and three positive standard deviations",
            )
        if self.interpolation not in _PIL_FILTERS:
            raise ClassifierError(
                f"interpolation {self.interpolation!r}", allowed=", ".join(_PIL_FILTERS)
            )

    def _as_tuple(self, name: str) -> tuple[Any, ...]:
        value = getattr(self, name)
        number = int if name in ("input_size", "resize") else float
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
            size: of the network's input in pixels, or (H, W); then the photo is resized to 8/7 of
                both, whatever its aspect ratio.

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

    def prepare(
        self, photo: Image.Image, *, crop_at: tuple[float, float] = (0.5, 0.5), flip: bool = False
    ) -> Tensor:
        """Turn a photo into one network input.

        Args:
            photo: an RGB photo of any size.
            crop_at: (vertical, horizontal) position of the crop in [0, 1]; (0.5, 0.5) is the
                centre. Training draws it at random.
            flip: mirror left and right.

        Returns:
            (3, H, W) float32, normalised.
        """
        return self.normalise(self.pixels(photo, crop_at=crop_at, flip=flip))

    def pixels(
        self, photo: Image.Image, *, crop_at: tuple[float, float] = (0.5, 0.5), flip: bool = False
    ) -> Tensor:
        """Resize and crop a photo without normalising it.

        Returns:
            (3, H, W) float32 in [0, 1].
        """
        # convert would copy a photo that is RGB already.
        rgb = photo if photo.mode == "RGB" else photo.convert("RGB")
        cropped = self._resized_and_cropped(rgb, _PIL_FILTERS[self.interpolation], crop_at)
        if flip:
            cropped = cropped.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(np.array(cropped, dtype=np.uint8))
        return pixels.permute(2, 0, 1).float() / 255

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
        cropped = self._resized_and_cropped(picture, Image.Resampling.NEAREST, (0.5, 0.5))
        return torch.from_numpy(np.array(cropped, dtype=bool))

    def region(self, photo_size: tuple[int, int]) -> PhotoRegion:
        """Say which part of a photo the centre-cropped network input shows.

        Args:
            photo_size: (width, height) in pixels, as PIL gives it.

        Example:
            >>> Preprocessing.imagenet(224).region((256, 512))
            PhotoRegion(left=16.0, top=144.0, right=240.0, bottom=368.0)
        """
        width, height = photo_size
        resized_width, resized_height = self._resized_size(photo_size)
        left, top = self._crop_corner(photo_size, (0.5, 0.5))
        across, down = width / resized_width, height / resized_height
        crop_height, crop_width = self.input_size
        return PhotoRegion(
            left=left * across,
            top=top * down,
            right=(left + crop_width) * across,
            bottom=(top + crop_height) * down,
        )

    def normalise(self, pixels: Tensor) -> Tensor:
        """``(pixels − mean) / std`` per channel.

        Args:
            pixels: (..., 3, H, W) float in [0, 1].
        """
        mean, std = self._statistics(pixels)
        return (pixels - mean) / std

    def denormalise(self, images: Tensor) -> Tensor:
        """``images · std + mean`` per channel, the inverse of :meth:`normalise`.

        Args:
            images: (..., 3, H, W) float, normalised.
        """
        mean, std = self._statistics(images)
        return images * std + mean

    def black(self, like: Tensor) -> Tensor:
        """What a black pixel becomes: ``−mean / std``, (3, 1, 1), dtype and device of ``like``."""
        mean, std = self._statistics(like)
        return -mean / std

    def as_json(self) -> dict[str, Any]:
        """Return plain lists and numbers, for a JSON file."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Preprocessing:
        """Read what :meth:`as_json` wrote.

        Raises:
            ClassifierError: a field is missing, unknown or out of range.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if set(content) != names:
            raise ClassifierError(
                f"preprocessing with the fields {sorted(content)}", allowed=f"{sorted(names)}"
            )
        values = {key: tuple(v) if isinstance(v, list) else v for key, v in content.items()}
        return cls(**values)  # type: ignore[arg-type]  # __post_init__ checks them

    def in_words(self) -> str:
        """One line for people: sizes, interpolation, mean and std."""
        if isinstance(self.resize, int):
            resize = f"shorter side to {self.resize}"
        else:
            resize = f"resize to {self.resize[0]}×{self.resize[1]}"
        height, width = self.input_size
        mean = ", ".join(f"{value:.3g}" for value in self.mean)
        std = ", ".join(f"{value:.3g}" for value in self.std)
        return (
            f"{resize} ({self.interpolation}), centre crop {height}×{width}, "
            f"mean ({mean}), std ({std})"
        )

    def _resized_and_cropped(
        self, picture: Image.Image, method: Image.Resampling, crop_at: tuple[float, float]
    ) -> Image.Image:
        """Resize, then cut out the crop; black where the crop leaves the picture."""
        size = self._resized_size(picture.size)
        left, top = self._crop_corner(picture.size, crop_at)
        crop_height, crop_width = self.input_size
        crop = (left, top, left + crop_width, top + crop_height)
        if size[0] * size[1] <= max(LARGEST_RESIZED, 16 * crop_height * crop_width):
            # PIL pads with black where the box leaves the picture.
            return picture.resize(size, method).crop(crop)
        return _crop_of_resized(picture, size, crop, method)

    def _resized_size(self, photo_size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) of the photo after resizing."""
        if not isinstance(self.resize, int):
            return self.resize[1], self.resize[0]
        width, height = photo_size
        # The longer side is truncated, as torchvision and timm do.
        if width <= height:
            return self.resize, max(1, int(self.resize * height / width))
        return max(1, int(self.resize * width / height)), self.resize

    def _crop_corner(
        self, photo_size: tuple[int, int], crop_at: tuple[float, float]
    ) -> tuple[int, int]:
        """(left, top) of the crop in the resized photo; negative where black is padded."""
        width, height = self._resized_size(photo_size)
        crop_height, crop_width = self.input_size
        top = _crop_start(height - crop_height, crop_at[0])
        left = _crop_start(width - crop_width, crop_at[1])
        return left, top

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        return _statistics(self.mean, self.std, like.dtype, like.device)


def _crop_of_resized(
    picture: Image.Image,
    size: tuple[int, int],
    crop: tuple[int, int, int, int],
    method: Image.Resampling,
) -> Image.Image:
    """``picture.resize(size, method).crop(crop)`` without ever holding the resized picture.

    The same but for rounding: Pillow then takes fractions of a pixel in single precision.
    """
    seen = (max(0, crop[0]), max(0, crop[1]), min(size[0], crop[2]), min(size[1], crop[3]))
    across, down = picture.width / size[0], picture.height / size[1]
    box = (seen[0] * across, seen[1] * down, seen[2] * across, seen[3] * down)
    # What the filters reach beyond the box; cut out first, so that places stay small numbers.
    reach = [math.ceil(_WIDEST_FILTER * max(1.0, scale)) + 1 for scale in (across, down)]
    near = (
        max(0, math.floor(box[0]) - reach[0]),
        max(0, math.floor(box[1]) - reach[1]),
        min(picture.width, math.ceil(box[2]) + reach[0]),
        min(picture.height, math.ceil(box[3]) + reach[1]),
    )
    part = picture.crop(near)
    place = (box[0] - near[0], box[1] - near[1], box[2] - near[0], box[3] - near[1])
    place = (place[0], place[1], min(place[2], part.width), min(place[3], part.height))
    shown = part.resize((seen[2] - seen[0], seen[3] - seen[1]), method, box=place)
    padded = Image.new(picture.mode, (crop[2] - crop[0], crop[3] - crop[1]))
    padded.paste(shown, (seen[0] - crop[0], seen[1] - crop[1]))
    return padded


def _crop_start(slack: int, position: float) -> int:
    """Where a crop begins, with ``slack`` pixels to spare; negative where black is padded.

    Both roundings are torchvision's: halves go to the even neighbour when cropping, and the odd
    pixel of padding to the far side.
    """
    return round(slack * position) if slack >= 0 else -(-slack // 2)


@functools.lru_cache(maxsize=64)
def _statistics(
    mean: tuple[float, ...], std: tuple[float, ...], dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Mean and std as (3, 1, 1) tensors, kept: every training step asks for the same ones."""
    shape = (len(mean), 1, 1)
    return (
        torch.tensor(mean, dtype=dtype, device=device).reshape(shape),
        torch.tensor(std, dtype=dtype, device=device).reshape(shape),
    )
