"""Agglomerative clustering by the most distant members."""

from __future__ import annotations

import torch
from torch import Tensor


def complete_linkage(distances: Tensor, threshold: float) -> Tensor:
    """Merge the two nearest clusters again and again, while they are nearer than a threshold.

    The distance of two clusters is that of their most distant members. Written here, because it is
    short on a matrix of the distances of a thousand channels, and scipy is too much to install for
    it; tests compare the two.

    Args:
        distances: (n, n) symmetric; the diagonal does not matter.
        threshold: no two clusters that are this far apart, or farther, are merged.

    Returns:
        (n,) int64 on the CPU: every member's cluster, numbered from 0 by first members.

    Example:
        >>> places = torch.tensor([0.0, 1.0, 10.0, 11.0, 2.0])
        >>> complete_linkage((places[:, None] - places).abs(), 1.5).tolist()
        [0, 0, 1, 1, 2]
    """
    between = distances.detach().double().cpu().clone()
    count = len(between)
    between.fill_diagonal_(torch.inf)
    labels = torch.arange(count)
    for _ in range(count - 1):
        nearest = int(between.argmin())
        first, second = sorted(divmod(nearest, count))
        if not between[first, second] < threshold:
            break
        merged = torch.maximum(between[first], between[second])
        between[first] = between[:, first] = merged
        between[second] = between[:, second] = torch.inf
        between[first, first] = torch.inf
        labels[labels == second] = first
    numbered: Tensor = torch.unique(labels, return_inverse=True)[1]
    return numbered
