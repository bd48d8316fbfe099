"""Sparseness: whether the map's value lies on few pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from ttame.metrics.metric import Metric


def sparseness(maps: Tensor) -> Tensor:
    """Gini index of the absolute values (Chalasani et al., arXiv 1810.06583).

    ``Σ_k (2k − N − 1) |S|_(k) / (N Σ |S|)`` over the N values in ascending order, k from 1. In a
    table it is taken of maps as the protocol scales and resizes them, so that coarse and fine
    ones compare. Higher is sparser.

    Args:
        maps: (B, h, w).

    Returns:
        (B,) float32 in [0, 1): 0 where all values are equal, (N − 1) / N where all but one are 0.

    Example:
        >>> sparseness(torch.tensor([[[0.0, 0.0], [0.0, 8.0]]]))
        tensor([0.7500])
    """
    values = maps.flatten(1).float().abs()
    largest = values.amax(dim=1, keepdim=True)
    values = (values / largest.masked_fill(largest == 0, 1)).sort(dim=1).values
    count = values.shape[1]
    places = torch.arange(1, count + 1, device=values.device, dtype=values.dtype)
    weights = (2 * places - count - 1) / count
    total = values.sum(dim=1)
    return ((weights * values).sum(dim=1) / total.masked_fill(total == 0, 1)).clamp_min(0)


SPARSENESS = Metric(
    name="sparseness",
    title="Sparseness",
    better="higher",
    unit="",
    paper="Chalasani et al., arXiv 1810.06583",
    measures="the Gini index of the map: 0 if all pixels share it equally, 1 if one has it all",
    cost="none",
    function=sparseness,
    maps="scaled",
    bounds=(0.0, 1.0),
)
