"""Masks of one map in plain Python numbers, for the tests of fast ones, and maps to try both on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

MEANS = [0.35, 0.5, 0.6, 0.75]
SHAPES = [(3, 4), (7, 7), (1, 9), (5, 2)]


def random_maps(rows: int, columns: int, count: int = len(MEANS)) -> Tensor:
    """(B, 1, h, w) in float64 of different scales and offsets, as heads give them."""
    generator = torch.Generator().manual_seed(rows * 100 + columns)
    maps = torch.randn(count, 1, rows, columns, generator=generator, dtype=torch.float64)
    scales = torch.tensor([0.2, 1.0, 3.0, 20.0], dtype=torch.float64)[:count]
    offsets = torch.tensor([-7.0, 0.0, 2.0, 30.0], dtype=torch.float64)[:count]
    return maps * scales[:, None, None, None] + offsets[:, None, None, None]


def close(found: Tensor, expected: object, tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(
        found, torch.as_tensor(expected, dtype=found.dtype), rtol=tolerance, atol=tolerance
    )


def slow_exponent(values: Sequence[float], mean: float) -> float:
    """The power of values in [0, 1], none of them below 1/10000, that has a mean."""
    clamped = [max(value, 1e-4) for value in values]
    found = _root(lambda log: _mean([v ** math.exp(log) for v in clamped]) - mean, -7, 7)
    return math.exp(found)


def slow_soft_mask(values: Sequence[float], mean: float) -> list[float]:
    """Min–max, then the power that gives the mean."""
    low, high = min(values), max(values)
    scaled = [max((value - low) / (high - low), 1e-4) for value in values]
    exponent = slow_exponent(scaled, mean)
    return [value**exponent for value in scaled]


def slow_hard_mask(
    values: Sequence[float], mean: float, softness: float, spread: float | None = None
) -> list[float]:
    """The logistic function around the threshold that gives the mean.

    Args:
        values: of the map.
        mean: of the mask.
        softness: width of the threshold.
        spread: what the map is divided by; its standard deviation if not given.
    """
    if spread is None:
        centre = _mean(values)
        spread = math.sqrt(_mean([(value - centre) ** 2 for value in values]))
    scaled = [value / spread for value in values]

    def mask(threshold: float) -> list[float]:
        return [_logistic((value - threshold) / softness) for value in scaled]

    threshold = _root(lambda t: _mean(mask(t)) - mean, min(scaled) - 9, max(scaled) + 9)
    return mask(threshold)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > -700 else 0.0


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function is zero, to the last bit."""
    while low < (middle := (low + high) / 2) < high:
        if falling(middle) > 0:
            low = middle
        else:
            high = middle
    return middle
