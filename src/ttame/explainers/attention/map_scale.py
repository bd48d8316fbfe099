"""From a head's output to what an explanation holds: with fewer details, on a scale of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from ttame.explainers.attention.head_settings import MapScale
from ttame.saliency_maps import to_unit_range

_BROAD = 1 / 7
"""Standard deviation of the blur, in sides of the picture."""
_BISECTIONS = 30
_LARGEST_LOGARITHM = 7.0
"""Of an exponent, either way: from 1/1000 to 1000."""


def scaled_maps(maps: Tensor, scale: MapScale, exponent: Tensor | None = None) -> Tensor:
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


def with_details(maps: Tensor, share: float) -> Tensor:
    """Keep only a share of what a map has beside its broad shape.

    ``blur(m) + share · (m − blur(m))``, with a Gaussian whose standard deviation is a seventh of
    the side: a cell of the 7×7 grid that most CNNs end with. Fine differences are what a head
    learns by heart first; its broad shape holds for new images.

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
