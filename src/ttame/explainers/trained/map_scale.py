"""From a head's output to what an explanation holds: raw, a sigmoid, or a min–max with a mean."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ttame.images.saliency_maps import to_unit_range

MapKind = Literal["raw", "sigmoid", "standard", "min-max"]

_BISECTIONS = 30
_LARGEST_LOGARITHM = 7.0
"""Of an exponent, either way: from 1/1000 to 1000."""


def scaled_maps(
    maps: Tensor,
    scale: MapKind,
    exponent: Tensor | None = None,
    places: Tensor | None = None,
) -> Tensor:
    """Give a head's output the scale that explanations have.

    Args:
        maps: (B, K, h, w), before any activation.
        scale: ``"raw"`` leaves them; ``"sigmoid"``; ``"standard"``: the sigmoid in units of each
            map's own standard deviation, from its mean on; ``"min-max"`` takes every map from 0 to
            1 and raises it to ``exponent``.
        exponent: scalar, above 0; for ``"min-max"``.
        places: (B, 1, h, w) bool, of which mean and deviation are, for ``"standard"``; all if not
            given.

    Example:
        >>> maps = torch.tensor([[[[1.0, 2.0, 3.0]]]])
        >>> scaled_maps(maps, "min-max", torch.tensor(2.0)).flatten().tolist()
        [0.0, 0.25, 1.0]
    """
    if scale == "sigmoid":
        return maps.sigmoid()
    if scale == "standard":
        return _standardised(maps, places).sigmoid()
    if scale == "min-max":
        assert exponent is not None
        scaled: Tensor = to_unit_range(maps) ** exponent
        return scaled
    return maps


def _standardised(maps: Tensor, places: Tensor | None) -> Tensor:
    """Less their mean, over their standard deviation; of constant maps 0."""
    weights = torch.ones_like(maps) if places is None else places.to(maps).expand_as(maps)
    count = weights.sum(dim=(2, 3), keepdim=True).clamp_min(1)
    centred = maps - (maps * weights).sum(dim=(2, 3), keepdim=True) / count
    square = (centred.square() * weights).sum(dim=(2, 3), keepdim=True) / count
    return centred / square.sqrt().clamp_min(torch.finfo(maps.dtype).tiny)


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
