"""Pictures that are blurred more or less at each place, as a mask says."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_REACH = 3.0
"""Where a Gaussian ends, in standard deviations."""


def gaussian_blurred(images: Tensor, sigma: float) -> Tensor:
    """Convolve with a Gaussian that is cut off at three standard deviations; edges are repeated.

    Args:
        images: (B, C, H, W) float.
        sigma: in pixels; 0 leaves the images as they are.

    Returns:
        (B, C, H, W).

    Example:
        >>> gaussian_blurred(torch.tensor([[[[0.0, 1.0, 0.0]]]]), 0.5)[0, 0, 0].round(decimals=2)
        tensor([0.1100, 0.7900, 0.1100])
    """
    reach = math.ceil(_REACH * sigma)
    if reach == 0:
        return images
    offsets = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    weights = torch.exp(-((offsets / sigma) ** 2) / 2)
    weights = weights / weights.sum()
    channels = images.shape[1]
    rows = weights.reshape(1, 1, -1, 1).expand(channels, 1, -1, 1)
    padded = F.pad(images, (reach,) * 4, mode="replicate")
    across = F.conv2d(padded, rows, groups=channels)
    return F.conv2d(across, rows.transpose(2, 3), groups=channels)


def blur_levels(images: Tensor, largest: float, levels: int = 8) -> Tensor:
    """The pictures, sharp and ever more blurred: standard deviations from 0 to the largest one.

    Args:
        images: (B, C, H, W) float.
        largest: in pixels.
        levels: at least 2, at equal distances.

    Returns:
        (levels, B, C, H, W).
    """
    steps = range(levels)
    return torch.stack([gaussian_blurred(images, largest * step / (levels - 1)) for step in steps])


def blurred_by_masks(levels: Tensor, masks: Tensor) -> Tensor:
    """Show each pixel as sharp as its mask says: 1 for the picture itself, 0 for the largest blur.

    Between two levels pixels are interpolated, so that this can be differentiated in the masks.

    Args:
        levels: (L, B, C, H, W) of :func:`blur_levels`.
        masks: (B, 1, H, W) in [0, 1].

    Returns:
        (B, C, H, W).

    Example:
        >>> levels = torch.stack([torch.full((1, 1, 1, 2), value) for value in (5.0, 3.0, 1.0)])
        >>> blurred_by_masks(levels, torch.tensor([[[[1.0, 0.25]]]]))
        tensor([[[[5., 2.]]]])
    """
    position = (1 - masks) * (len(levels) - 1)
    return torch.stack(
        [level * (1 - (position - number).abs()).relu() for number, level in enumerate(levels)]
    ).sum(dim=0)
