"""Where in a photo a network looked, and maps of its input laid on that photo."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ttame.images.band_photo import BandPhoto
from ttame.images.map_sampling import sampled
from ttame.images.photo_crop import PhotoCrop, PhotoRegion
from ttame.images.photos import TURNS_TO_THE_SIDE, Turn, full_size, turn_of
from ttame.images.picture_files import Photo, read_picture

_UNTURNED = {
    Image.Transpose.FLIP_LEFT_RIGHT: lambda array: array[..., ::-1],
    Image.Transpose.ROTATE_180: lambda array: array[..., ::-1, ::-1],
    Image.Transpose.FLIP_TOP_BOTTOM: lambda array: array[..., ::-1, :],
    Image.Transpose.TRANSPOSE: lambda array: array.swapaxes(-2, -1),
    Image.Transpose.ROTATE_270: lambda array: np.rot90(array, 1, (-2, -1)),
    Image.Transpose.TRANSVERSE: lambda array: array[..., ::-1, ::-1].swapaxes(-2, -1),
    Image.Transpose.ROTATE_90: lambda array: np.rot90(array, -1, (-2, -1)),
}
"""What undoes each way of making a photo upright."""


@dataclasses.dataclass(frozen=True)
class PhotoFrame:
    """The frame of a photo, and which part of it the network saw.

    Attributes:
        size: (width, height) of the upright photo, in pixels.
        region: what the network saw, in pixels of the upright photo.
        turn: what makes the photo upright where its pixels lie turned; ``None`` if they do not.

    Example:
        >>> frame = PhotoFrame((4, 2), PhotoRegion(1, 0, 3, 2))
        >>> frame.placed(torch.tensor([[[0.5]]])).tolist()
        [[[0.0, 0.5, 0.5, 0.0], [0.0, 0.5, 0.5, 0.0]]]
    """

    size: tuple[int, int]
    region: PhotoRegion
    turn: Turn = None

    @classmethod
    def of(cls, photo: Photo, crop: PhotoCrop) -> PhotoFrame:
        """The frame of a photo.

        Args:
            photo: open, which keeps its frame as its pixels lie, whatever its EXIF block says; or
                the path of one, which has the frame of the upright photo in the file's full size.
            crop: what the network sees.

        Raises:
            ImageError: not a readable photo.

        Example:
            >>> PhotoFrame.of(Image.new("RGB", (8, 4)), PhotoCrop((4, 4), 4)).region
            PhotoRegion(left=2.0, top=0.0, right=6.0, bottom=4.0)
        """
        turn: Turn = None
        if isinstance(photo, Image.Image):
            turn = turn_of(photo)
            size = photo.size[::-1] if turn in TURNS_TO_THE_SIDE else photo.size
        else:
            read = photo if isinstance(photo, BandPhoto) else read_picture(Path(photo))
            size = full_size(read) if isinstance(read, Image.Image) else read.size
        return cls(size, crop.region(size), turn)

    def placed(self, maps: Tensor, *, outside: float = 0.0) -> Tensor:
        """Lay maps of the network's input on the photo, as its pixels lie.

        Bilinear, with half-pixel centres, to fractions of a pixel. A pixel belongs to what the
        network saw if its centre does.

        Args:
            maps: (K, h, w) floating, on the frame of the network's input; any device.
            outside: the value of what the network did not see, such as ``math.nan``.

        Returns:
            (K, height, width) float32, on the device of the maps.
        """
        width, height = self.size
        left, right = _inside(self.region.left, self.region.right, width)
        top, bottom = _inside(self.region.top, self.region.bottom, height)
        whole = np.full((len(maps), height, width), outside, dtype=np.float32)
        if left < right and top < bottom:
            for number, cells in enumerate(maps.detach().to("cpu", torch.float32).numpy()):
                whole[number, top:bottom, left:right] = sampled(
                    cells, self.region, (left, top, right, bottom)
                )
        lying: Any = whole if self.turn is None else _UNTURNED[self.turn](whole)
        return torch.from_numpy(np.ascontiguousarray(lying)).to(maps.device)


def _inside(start: float, end: float, side: int) -> tuple[int, int]:
    """First and last (exclusive) pixel of a side whose centre lies within the region."""
    return max(0, math.ceil(start - 0.5)), min(side, math.ceil(end - 0.5))
