"""How alike two maps are, whatever their scales."""

from __future__ import annotations

import torch
from torch import Tensor

from ttame.images.saliency_maps import has_evidence


def pearson_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Pearson's correlation of the values at the same places.

    Args:
        first: (B, h, w).
        second: (B, h, w).

    Returns:
        (B,) float32 in [−1, 1]; 0 where a map is constant, which goes along with nothing.

    Example:
        >>> first = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
        >>> pearson_correlation(first, 5 - 2 * first)
        tensor([-1.0000])
    """
    one, other = _direction(first), _direction(second)
    correlation = (one * other).sum(dim=1).clamp(-1, 1)
    return correlation.masked_fill(~(has_evidence(first) & has_evidence(second)), 0)


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Spearman's rank correlation, where equal values share the mean of their ranks.

    Args:
        first: (B, h, w).
        second: (B, h, w).

    Returns:
        (B,) float32 in [−1, 1]; 0 where a map is constant.

    Example:
        >>> first = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
        >>> rank_correlation(first, first**5)
        tensor([1.0000])
    """
    return pearson_correlation(_ranks(first), _ranks(second))


def _direction(maps: Tensor) -> Tensor:
    """(B, h·w) of mean 0 and length 1."""
    values = maps.flatten(1).float()
    # Scaled first: squares of tiny gradients would vanish in float32.
    values = values - values.mean(dim=1, keepdim=True)
    values = values / _or_one(values.abs().amax(dim=1, keepdim=True))
    return values / _or_one(values.norm(dim=1, keepdim=True))


def _or_one(lengths: Tensor) -> Tensor:
    return torch.where(lengths > 0, lengths, torch.ones_like(lengths))


def _ranks(maps: Tensor) -> Tensor:
    values = maps.flatten(1).float().contiguous()
    ordered = values.sort(dim=1).values
    below = torch.searchsorted(ordered, values)
    not_above = torch.searchsorted(ordered, values, right=True)
    return ((below + not_above - 1) / 2).reshape(maps.shape)
