"""Correlations against scipy's definitions, spelt out, and against ranks counted one by one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from ttame.metrics.map_correlation import pearson_correlation, rank_correlation

Correlation = Callable[[Tensor, Tensor], Tensor]


def slow_ranks(values: list[float]) -> list[float]:
    """The mean rank of equal values, by counting."""
    return [
        sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2
        for value in values
    ]


def test_pearson_equals_numpy() -> None:
    first, second = torch.randn(4, 3, 5), torch.randn(4, 3, 5)
    slow = [
        float(np.corrcoef(a.flatten(), b.flatten())[0, 1])
        for a, b in zip(first.numpy(), second.numpy(), strict=True)
    ]
    assert pearson_correlation(first, second).tolist() == pytest.approx(slow, abs=1e-6)


def test_ranks_share_ties() -> None:
    first = torch.randint(0, 4, (5, 3, 4)).float()
    second = torch.randint(0, 4, (5, 3, 4)).float()
    slow = [
        float(np.corrcoef(slow_ranks(a), slow_ranks(b))[0, 1])
        for a, b in zip(first.flatten(1).tolist(), second.flatten(1).tolist(), strict=True)
    ]
    assert rank_correlation(first, second).tolist() == pytest.approx(slow, abs=1e-6)


@pytest.mark.parametrize("correlation", [pearson_correlation, rank_correlation])
def test_units_do_not_matter_however_small(correlation: Correlation) -> None:
    maps = torch.rand(2, 4, 4)
    assert correlation(maps, 1e-25 * maps).tolist() == pytest.approx([1.0, 1.0], abs=1e-5)
    assert correlation(maps, 3 - maps).tolist() == pytest.approx([-1.0, -1.0], abs=1e-5)


@pytest.mark.parametrize("correlation", [pearson_correlation, rank_correlation])
def test_constant_maps_go_along_with_nothing(correlation: Correlation) -> None:
    constant = torch.full((1, 3, 3), 0.1)
    assert correlation(constant, torch.rand(1, 3, 3)).tolist() == [0.0]
    assert correlation(constant, constant).tolist() == [0.0]
