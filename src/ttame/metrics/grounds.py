"""Grounds: what stands where the pixels of a picture are not shown."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ttame.metrics.image_generator import image_generator
from ttame.metrics.protocol import Protocol

Ground = Literal["blur", "mean", "noise"]

_BLUR = Protocol("rise").blur


def ground_images(
    images: Tensor,
    ground: Ground,
    *,
    blur: tuple[int, float] = _BLUR,
    seed: int = 0,
    numbers: Sequence[int] | None = None,
) -> Tensor:
    """What is seen of a picture before anything is inserted, or after everything is deleted.

    Args:
        images: (B, C, H, W) float, normalised.
        ground: ``"blur"``: the picture, blurred (:func:`blurred`); ``"mean"``: 0 everywhere, the
            mean colour; ``"noise"``: every value is drawn from the standard normal distribution,
            which has the mean and the deviation of normalised pixels.
        blur: (kernel size, sigma) in pixels.
        seed: the seed of the noise.
        numbers: the numbers of the images in the data set, on which the noise depends; 0, 1, … if
            not given.

    Returns:
        (B, C, H, W).

    Example:
        >>> ground_images(torch.ones(1, 3, 4, 4), "mean").abs().sum()
        tensor(0.)
    """
    if ground == "blur":
        return blurred(images, blur)
    if ground == "mean":
        return torch.zeros_like(images)
    fields = [
        torch.randn(
            images.shape[1:],
            generator=image_generator(seed, number, "noise ground"),
            dtype=torch.float32,
        )
        for number in (range(len(images)) if numbers is None else numbers)
    ]
    return torch.stack(fields).to(images)


def blurred(images: Tensor, blur: tuple[int, float] = _BLUR) -> Tensor:
    """The image in which insertion starts.

    RISE's kernel is what a Gaussian filter makes of one pixel in the middle of a grid of the
    kernel's size, mirrored at its borders: much flatter than a Gaussian that is cut off. Outside
    the image counts as 0, the mean colour.

    Args:
        images: (B, C, H, W) float, normalised.
        blur: (kernel size, sigma) in pixels; the size is odd.

    Returns:
        (B, C, H, W).

    Example:
        >>> blurred(torch.ones(1, 1, 3, 3), (3, 1.0)).round(decimals=1)
        tensor([[[[0.5000, 0.7000, 0.5000],
                  [0.7000, 1.0000, 0.7000],
                  [0.5000, 0.7000, 0.5000]]]])
    """
    kernel = _blur_kernel(*blur).to(images)
    channels, margin = images.shape[1], blur[0] // 2
    down = kernel.reshape(1, 1, -1, 1).expand(channels, -1, -1, -1)
    across = kernel.reshape(1, 1, 1, -1).expand(channels, -1, -1, -1)
    narrowed = F.conv2d(images, down, padding=(margin, 0), groups=channels)
    return F.conv2d(narrowed, across, padding=(0, margin), groups=channels)


@functools.lru_cache(maxsize=8)
def _blur_kernel(size: int, sigma: float) -> Tensor:
    """(size,) float64, sum 1: one pixel on a line with mirrored ends, after a Gaussian filter."""
    reach = int(4 * sigma + 0.5)
    distances = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (distances / sigma) ** 2)
    weights /= weights.sum()
    # Half-sample mirroring repeats with twice the size; the upper half is the lower one reversed.
    places = (torch.arange(size)[:, None] + distances.long()).remainder(2 * size)
    mirrored = torch.minimum(places, 2 * size - 1 - places)
    return (weights * (mirrored == size // 2)).sum(dim=1)
