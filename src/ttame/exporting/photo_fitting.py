"""Photos of any size to a network's input and maps back onto them, as operations of a graph.

Resizing and cropping are two matrix products, one for the rows and one for the columns, whose
weights are computed from the size of the photo: nothing of them is fixed when a graph is recorded.
They give Pillow's numbers to the last bit, since its rounding is done as well: of the weights to
multiples of 2⁻²², and of what each of the two passes gives to whole numbers from 0 to 255. Rows
are resized first, as Pillow did always before its version 13; that one begins with the columns of
tall photos, which moves some numbers by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ttame.errors import ExplainerError
from ttame.images.photo_crop import PhotoCrop
from ttame.images.preprocessing import Interpolation, Preprocessing

_PRECISION = 2**22
"""Pillow's weights are whole multiples of one part in so many."""


def _bilinear(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp_min(0)


def _bicubic(x: Tensor) -> Tensor:
    a, x = -0.5, x.abs()
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def _lanczos(x: Tensor) -> Tensor:
    return torch.where(x.abs() < 3, _sinc(x) * _sinc(x / 3), torch.zeros_like(x))


def _sinc(x: Tensor) -> Tensor:
    turned = math.pi * torch.where(x == 0, torch.ones_like(x), x)
    return torch.where(x == 0, torch.ones_like(x), turned.sin() / turned)


_KERNELS: dict[Interpolation, Callable[[Tensor], Tensor]] = {
    "bilinear": _bilinear,
    "bicubic": _bicubic,
    "lanczos": _lanczos,
}


def check_photo_fitting(preprocessing: Preprocessing) -> None:
    """Refuse preprocessing that a graph does not do.

    Raises:
        ExplainerError: it does not interpolate.
    """
    if preprocessing.interpolation not in _KERNELS:
        raise ExplainerError(
            f"resizing by {preprocessing.interpolation!r} inside a graph",
            allowed=", ".join(_KERNELS),
            remedy='takes="pixels", which are resized before',
        )


def fitted(photos: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Resize and crop photos, as :meth:`ttame.Preprocessing.pixels` does.

    Args:
        photos: (B, height, width, 3) uint8, upright.
        preprocessing: the preprocessing of a network for red, green and blue.

    Returns:
        (B, 3, H, W) float32, whole numbers from 0 to 255; 0 where the crop leaves the photo.

    Example:
        >>> photos = torch.full((1, 60, 80, 3), 200, dtype=torch.uint8)
        >>> pixels = fitted(photos, Preprocessing.imagenet(16))
        >>> pixels.shape, pixels.unique()
        (torch.Size([1, 3, 16, 16]), tensor([200.]))
    """
    rows, columns = _sides(photos, preprocessing.crop)
    kernel = _KERNELS[preprocessing.interpolation]
    planes = photos.permute(0, 3, 1, 2).to(torch.float64)
    across = _rounded(planes @ columns.weights(kernel).T)
    return _rounded(rows.weights(kernel) @ across).float()


def laid_on(maps: Tensor, photos: Tensor, crop: PhotoCrop) -> Tensor:
    """Lay maps of a network's input on photos, as ``PhotoFrame.placed`` does.

    Args:
        maps: (B, K, h, w) float32, on the frame of the input.
        photos: (B, height, width, 3).
        crop: what the network sees.

    Returns:
        (B, K, height, width) float32, read bilinearly; 0 where the network did not look.
    """
    rows, columns = _sides(photos, crop)
    down = rows.readings(maps.shape[2]).to(maps.dtype)
    return down @ maps @ columns.readings(maps.shape[3]).to(maps.dtype).T


class _Side:
    """One side of a photo: its pixels, and where the network's lie among them.

    Attributes:
        pixels: (n,) float64, their numbers.
        length: () float64, n.
        resized: () float64, how many there are after resizing.
        cut: (m,) float64, the numbers of the network's among the resized ones; some may lie
            outside.
    """

    def __init__(self, pixels: Tensor, length: Tensor, resized: Tensor, cut: int) -> None:
        self.pixels, self.length, self.resized = pixels, length, resized
        slack = resized - cut
        # As PhotoCrop: halves to the even neighbour, and the odd pixel of padding behind.
        start = torch.where(slack >= 0, (slack / 2).round(), -(-slack / 2).floor())
        self.cut = torch.arange(cut, device=pixels.device, dtype=torch.float64) + start

    def weights(self, kernel: Callable[[Tensor], Tensor]) -> Tensor:
        """(m, n) float64: what each pixel gives to each of the network's."""
        scale = self.length / self.resized
        centres = (self.cut + 0.5) * scale
        distances = (self.pixels + 0.5 - centres[:, None]) / scale.clamp_min(1)
        weights = kernel(distances)
        weights = weights / weights.sum(dim=1, keepdim=True)
        whole = (weights.abs() * _PRECISION + 0.5).floor() * weights.sign()
        inside = (self.cut >= 0) & (self.cut < self.resized)
        return torch.where(inside[:, None], whole / _PRECISION, torch.zeros_like(whole))

    def readings(self, cells: int) -> Tensor:
        """(n, cells) float64: how each pixel reads a map that lies on the cut."""
        scale = self.length / self.resized
        start, end = self.cut[0] * scale, (self.cut[-1] + 1) * scale
        middles = self.pixels + 0.5
        position = ((middles - start) / (end - start) * cells - 0.5).clamp(0, cells - 1)
        places = torch.arange(cells, device=self.pixels.device, dtype=torch.float64)
        read = _bilinear(position[:, None] - places)
        seen = (middles >= start) & (middles < end)
        return torch.where(seen[:, None], read, torch.zeros_like(read))


def _sides(photos: Tensor, crop: PhotoCrop) -> tuple[_Side, _Side]:
    """Rows and columns."""
    pixels = [
        torch.arange(side, device=photos.device, dtype=torch.float64) for side in photos.shape[1:3]
    ]
    height, width = (places[-1] + 1 for places in pixels)
    resized = _resized(height, width, crop)
    rows, columns = (
        _Side(places, length, wanted, cut)
        for places, length, wanted, cut in zip(
            pixels, (height, width), resized, crop.input_size, strict=True
        )
    )
    return rows, columns


def _resized(height: Tensor, width: Tensor, crop: PhotoCrop) -> tuple[Tensor, Tensor]:
    """(height, width) of a photo after resizing, as :meth:`PhotoCrop.resized_size`."""
    if crop.resize == "pad":
        scale = torch.minimum(crop.input_size[0] / height, crop.input_size[1] / width)
        return (height * scale).round().clamp_min(1), (width * scale).round().clamp_min(1)
    if isinstance(crop.resize, tuple):
        tall, wide = crop.resize
        return torch.full_like(height, tall), torch.full_like(width, wide)
    # The shorter side is the one that does not become longer than asked for.
    shorter = float(crop.resize)
    tall_one = (shorter * height / width).floor().clamp_min(shorter)
    wide_one = (shorter * width / height).floor().clamp_min(shorter)
    return tall_one, wide_one


def _rounded(values: Tensor) -> Tensor:
    """To whole numbers from 0 to 255, halves up."""
    return (values + 0.5).floor().clamp(0, 255)
