"""Which part of a photo a network sees: the geometry of resizing, padding and cropping."""

from __future__ import annotations

import dataclasses
from typing import Literal

from PIL import Image

from ttame.images.crops_of_resized import crop_of_resized

LARGEST_RESIZED = 2**25
"""Pixels. Of photos that would be larger after resizing only the part that is cropped is resized:
with a shorter side of 256, those that are 512 times as long as high."""

_CENTRE = (0.5, 0.5)


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
class PhotoCrop:
    """How a photo becomes as large as a network's input, whatever its colours.

    Attributes:
        input_size: (H, W) of the network's input in pixels.
        resize: as in :class:`ttame.Preprocessing`.

    Example:
        >>> PhotoCrop((224, 224), 256).region((256, 512))
        PhotoRegion(left=16.0, top=144.0, right=240.0, bottom=368.0)
    """

    input_size: tuple[int, int]
    resize: int | tuple[int, int] | Literal["pad"]

    def cut(
        self,
        picture: Image.Image,
        method: Image.Resampling,
        crop_at: tuple[float, float] = _CENTRE,
    ) -> Image.Image:
        """Resize, then cut out the crop; black where the crop leaves the picture.

        Args:
            picture: a picture of any mode.
            method: the filter.
            crop_at: (vertical, horizontal) position of the crop in [0, 1].
        """
        size = self.resized_size(picture.size)
        left, top = self.corner(picture.size, crop_at)
        crop_height, crop_width = self.input_size
        crop = (left, top, left + crop_width, top + crop_height)
        if size[0] * size[1] <= max(LARGEST_RESIZED, 16 * crop_height * crop_width):
            # PIL pads with black where the box leaves the picture.
            return picture.resize(size, method).crop(crop)
        return crop_of_resized(picture, size, crop, method)

    def region(self, photo_size: tuple[int, int]) -> PhotoRegion:
        """Which part of a photo the centre crop shows.

        Args:
            photo_size: (width, height) in pixels, as PIL gives it.
        """
        width, height = photo_size
        resized_width, resized_height = self.resized_size(photo_size)
        left, top = self.corner(photo_size, _CENTRE)
        across, down = width / resized_width, height / resized_height
        crop_height, crop_width = self.input_size
        return PhotoRegion(
            left=left * across,
            top=top * down,
            right=(left + crop_width) * across,
            bottom=(top + crop_height) * down,
        )

    def in_words(self) -> tuple[str, str]:
        """How it resizes, and what it then cuts out, for people."""
        height, width = self.input_size
        crop = f"centre crop {height}×{width}"
        if isinstance(self.resize, int):
            return f"shorter side to {self.resize}", crop
        if self.resize == "pad":
            return "the whole photo", f"padded with black to {height}×{width}"
        return f"resize to {self.resize[0]}×{self.resize[1]}", crop

    def resized_size(self, photo_size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) of the photo after resizing."""
        width, height = photo_size
        if self.resize == "pad":
            scale = min(self.input_size[0] / height, self.input_size[1] / width)
            return max(1, round(width * scale)), max(1, round(height * scale))
        if not isinstance(self.resize, int):
            return self.resize[1], self.resize[0]
        # The longer side is truncated, as torchvision and timm do.
        if width <= height:
            return self.resize, max(1, int(self.resize * height / width))
        return max(1, int(self.resize * width / height)), self.resize

    def corner(self, photo_size: tuple[int, int], crop_at: tuple[float, float]) -> tuple[int, int]:
        """(left, top) of the crop in the resized photo; negative where black is padded."""
        width, height = self.resized_size(photo_size)
        crop_height, crop_width = self.input_size
        top = _crop_start(height - crop_height, crop_at[0])
        left = _crop_start(width - crop_width, crop_at[1])
        return left, top


def _crop_start(slack: int, position: float) -> int:
    """Where a crop begins, with ``slack`` pixels to spare; negative where black is padded.

    Both roundings are torchvision's: halves go to the even neighbour when cropping, and the odd
    pixel of padding to the far side.
    """
    return round(slack * position) if slack >= 0 else -(-slack // 2)
