"""How much of its short-range differences a map keeps."""

from __future__ import annotations

import torch
from torch import Tensor

_BROAD = 1 / 7
"""Standard deviation of the blur, in shorter sides of the picture."""


def with_details(maps: Tensor, share: float, image_size: tuple[int, int] | None = None) -> Tensor:
    """Keep only a share of what a map has besides its broad shape.

    ``blur(m) + share · (m − blur(m))``, with a Gaussian whose standard deviation is a seventh of
    the image's shorter side: a cell of the 7×7 grid that most CNNs end with. It is as many pixels
    down as across.

    Args:
        maps: (B, K, h, w), any range.
        share: from 0, the blurred map, to 1, the map as it is.
        image_size: (H, W) of the image that the map is of; if not given, the map's places are
            taken to be square.

    Returns:
        The same shape; constant maps stay as they are.

    Example:
        >>> peak = torch.tensor([[[[0.0, 0.0, 1.0, 0.0, 0.0]]]])
        >>> [round(value, 2) for value in with_details(peak, 0.5, (5, 5)).flatten().tolist()]
        [0.01, 0.11, 0.78, 0.11, 0.01]
    """
    if share == 1:
        return maps
    down, right = blurring_matrices(maps, image_size)
    broad = down @ maps @ right.T
    return broad + share * (maps - broad)


def blurring_matrices(
    maps: Tensor, image_size: tuple[int, int] | None = None
) -> tuple[Tensor, Tensor]:
    """(h, h) and (w, w) matrices that blur along the sides: ``down @ maps @ right.T``.

    Args:
        maps: (B, K, h, w), any range.
        image_size: see :func:`with_details`.
    """
    height, width = image_size or (int(maps.shape[2]), int(maps.shape[3]))
    shorter = min(height, width)
    down = _gaussian(maps.shape[2], _BROAD * shorter / height, maps)
    return down, _gaussian(maps.shape[3], _BROAD * shorter / width, maps)


def blurred(maps: Tensor, deviation: float) -> Tensor:
    """Maps blurred by a Gaussian that is as wide on every grid; nothing comes from outside of it.

    Args:
        maps: (B, K, h, w), any range.
        deviation: standard deviation, in places.

    Returns:
        The same shape. Rows and columns of zeros behind a map change nothing.

    Example:
        >>> peak = torch.tensor([[[[0.0, 0.0, 1.0, 0.0]]]])
        >>> [round(value, 2) for value in blurred(peak, 0.5).flatten().tolist()]
        [0.0, 0.08, 0.62, 0.08]
    """
    down, across = plain_blurring_matrices(maps, deviation)
    return down @ maps @ across.T


def plain_blurring_matrices(maps: Tensor, deviation: float) -> tuple[Tensor, Tensor]:
    """(h, h) and (w, w) matrices of :func:`blurred`: ``down @ maps @ across.T``."""
    down, across = (_plain_gaussian(int(side), deviation, maps) for side in maps.shape[2:])
    return down, across


def _plain_gaussian(side: int, deviation: float, like: Tensor) -> Tensor:
    """(side, side), symmetric; what lies beyond a border is lost."""
    places = torch.arange(side, dtype=like.dtype, device=like.device)
    reach = torch.arange(-side, side + 1, dtype=like.dtype, device=like.device)
    total = torch.exp(-(reach / deviation).square() / 2).sum()
    return torch.exp(-((places[:, None] - places) / deviation).square() / 2) / total


def _gaussian(side: int, broad: float, like: Tensor) -> Tensor:
    """(side, side) weights of all places for each place, which add up to 1 at the borders too."""
    places = torch.arange(side, dtype=like.dtype, device=like.device)
    distances = (places[:, None] - places) / (side * broad)
    return torch.softmax(-distances.square() / 2, dim=1)
