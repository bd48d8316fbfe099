"""From a head's output to what an explanation holds: raw, a sigmoid, or a min–max with a mean."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ttame.images.saliency_maps import to_unit_range

MapKind = Literal["raw", "sigmoid", "min-max"]

_BISECTIONS = 30
_LARGEST_LOGARITHM = 7.0
"""Of an exponent, either way: from 1/1000 to 1000."""


def scaled_maps(maps: Tensor, scale: MapKind, exponent: Tensor | None = None) -> Tensor:
    """Give a head's output the scale that explanations have.

    Args:
        maps: (B, K, h, w), before any activation.
        scale: ``"raw"`` leaves them; ``"sigmoid"``; ``"min-max"`` takes every map from 0 to 1 and
            raises it to ``exponent``.
        exponent: scalar, above 0; for ``"min-max"``.

    Example:
        >>> maps = torch.tensor([[[[1.0, 2.0, 3.0]]]])
        >>> scaled_maps(maps, "min-max", torch.tensor(2.0)).flatten().tolist()
        [0.0, 0.25, 1.0]
    """
    if scale == "sigmoid":
        return maps.sigmoid()
    if scale == "min-max":
        assert exponent is not None
        scaled: Tensor = to_unit_range(maps) ** exponent
        return scaled
    return maps


@torch.no_grad()
def exponents_for_means(maps: Tensor, means: Tensor) -> Tensor:
    """Find the powers that give some maps their means, by bisection.

    Args:
        maps: (B, n) in [0, 1]; each row is a map, or several maps together.
        means: (B,) in (0, 1).

    Returns:
        (B,), from 1/1000 to 1000; the nearest of them if no power gives the mean.

    Example:
        >>> maps = torch.tensor([[0.25, 0.25], [0.5, 0.5]])
        >>> exponents_for_means(maps, torch.tensor([0.5, 0.25]))
        tensor([0.5000, 2.0000])
    """
    wanted = means[:, None]
    low = torch.full_like(wanted, -_LARGEST_LOGARITHM)
    high = torch.full_like(wanted, _LARGEST_LOGARITHM)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        too_bright = (maps ** middle.exp()).mean(dim=1, keepdim=True) > wanted
        low, high = torch.where(too_bright, middle, low), torch.where(too_bright, high, middle)
    return ((low + high) / 2).exp()[:, 0]
