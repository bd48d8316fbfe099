"""What stands where the pixels of a picture are hidden: a ground."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ttame.images.preprocessing import Preprocessing

HidingGround = Literal["black", "mean", "blur", "noise"]

_BLUR_SHARE = 1 / 10
"""Side of the blur's window, over that of the picture."""


def hiding_ground(
    images: Tensor, ground: HidingGround, preprocessing: Preprocessing, seed: int = 0
) -> Tensor:
    """The picture with every pixel hidden.

    Args:
        images: (B, C, H, W) float, normalised.
        ground: ``"black"``; ``"mean"``, the mean colour of the data set, 0 everywhere; ``"blur"``,
            the picture averaged twice over a window of a tenth of its side; ``"noise"``, drawn from
            the standard normal distribution, the same for every picture.
        preprocessing: knows what black is.
        seed: the seed of the noise.

    Returns:
        (B, C, H, W).

    Example:
        >>> images = torch.ones(1, 3, 8, 8)
        >>> float(hiding_ground(images, "mean", Preprocessing.imagenet(8)).abs().sum())
        0.0
    """
    if ground == "black":
        return preprocessing.black(images).expand_as(images)
    if ground == "mean":
        return torch.zeros_like(images)
    if ground == "noise":
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(images.shape[1:], generator=generator, dtype=torch.float32)
        return drawn.to(images).expand_as(images)
    return _averaged(_averaged(images))


def _averaged(images: Tensor) -> Tensor:
    margins = [int(side * _BLUR_SHARE / 2) for side in images.shape[-2:]]
    window = [2 * margin + 1 for margin in margins]
    return F.avg_pool2d(images, window, stride=1, padding=margins, count_include_pad=False)
