"""Map complexity: over how many pixels the map's value is spread."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ttame.metrics.metric import Metric


def map_complexity(maps: Tensor) -> Tensor:
    """Entropy of the shares of the absolute values (Bhatt et al., arXiv 2005.00631).

    ``−Σ_i P_i ln P_i`` with ``P_i = |S_i| / Σ |S|``. In a table it is taken of maps as the
    protocol scales and resizes them, because it grows with the number of pixels. Lower is
    simpler.

    Args:
        maps: (B, h, w).

    Returns:
        (B,) float32 in nats, from 0 for one pixel to ln(h·w) for equal values; a map of zeros
        tells no pixel from another and counts as equal.

    Example:
        >>> map_complexity(torch.tensor([[[0.0, 3.0], [3.0, 0.0]]]))
        tensor([0.6931])
    """
    values = maps.flatten(1).float().abs()
    largest = values.amax(dim=1, keepdim=True)
    values = torch.where(largest > 0, values / largest.masked_fill(largest == 0, 1), 1.0)
    shares = values / values.sum(dim=1, keepdim=True)
    terms: Tensor = torch.special.entr(shares)
    return terms.sum(dim=1)


MAP_COMPLEXITY = Metric(
    name="map_complexity",
    title="Entropy",
    better="lower",
    unit="",
    paper="Bhatt et al., arXiv 2005.00631",
    measures="the entropy of the map in nats: low if its value lies on few pixels",
    cost="none",
    function=map_complexity,
    maps="scaled",
    bounds=(0.0, math.inf),
)
