"""How much of its short-range differences a map keeps."""

from __future__ import annotations

import torch
from torch import Tensor

_BROAD = 1 / 7
"""Standard deviation of the blur, in sides of the picture."""


def with_details(maps: Tensor, share: float) -> Tensor:
    """Keep only a share of what a map has besides its broad shape.

    ``blur(m) + share · (m − blur(m))``, with a Gaussian whose standard deviation is a seventh of
    the side: a cell of the 7×7 grid that most CNNs end with.

    Args:
        maps: (B, K, h, w), any range.
        share: from 0, the blurred map, to 1, the map as it is.

    Returns:
        The same shape; constant maps stay as they are.

    Example:
        >>> peak = torch.tensor([[[[0.0, 0.0, 1.0, 0.0, 0.0]]]])
        >>> [round(value, 2) for value in with_details(peak, 0.5).flatten().tolist()]
        [0.01, 0.11, 0.78, 0.11, 0.01]
    """
    if share == 1:
        return maps
    broad = _gaussian(maps.shape[2], maps) @ maps @ _gaussian(maps.shape[3], maps).T
    return broad + share * (maps - broad)


def _gaussian(side: int, like: Tensor) -> Tensor:
    """(side, side) weights of all places for each place, which add up to 1 at the borders too."""
    places = torch.arange(side, dtype=like.dtype, device=like.device)
    distances = (places[:, None] - places) / (side * _BROAD)
    return torch.softmax(-distances.square() / 2, dim=1)
