"""Divisions that give a number even where there is nothing to share."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.conftest import assert_close
from ttame.explainers.relevance.stabilisers import (
    DIVISIONS,
    divide_as_published,
    divide_sign_aware,
)


@pytest.mark.parametrize("divide", DIVISIONS.values())
def test_nothing_is_shared_where_there_is_nothing(divide: Any) -> None:
    found = divide(torch.tensor([3.0, -1.0, 0.0]), torch.tensor([0.0, 0.0, 0.0]))
    assert found.tolist() == [0, 0, 0]


def test_the_offset_has_the_sign_of_the_divisor_or_is_positive() -> None:
    below = torch.tensor([2e-9, -2e-9, -1e-9], dtype=torch.float64)
    above = torch.ones(3, dtype=torch.float64)
    away = torch.tensor([1 / 3e-9, -1 / 3e-9, -1 / 2e-9], dtype=torch.float64)
    assert_close(divide_sign_aware(above, below), away, 1e-12)
    up = torch.tensor([1 / 3e-9, -1 / 1e-9, 1 / 1e-9], dtype=torch.float64)
    assert_close(divide_as_published(above, below), up, 1e-12)


@pytest.mark.parametrize("divide", DIVISIONS.values())
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_a_division_changes_neither_operand(divide: Any, kind: torch.dtype) -> None:
    """It works in place where it can; relevance of another shape or precision is widened."""
    relevance, total = torch.tensor([[1.0], [-3.0]]), torch.tensor([[2.0, 0.0, -4.0]], dtype=kind)
    before = relevance.clone(), total.clone()
    whole = relevance.expand(2, 3).clone()
    quotient = divide(relevance, total)
    assert quotient.dtype == kind
    assert_close(quotient, torch.tensor([[0.5, 0.0, -0.25], [-1.5, 0.0, 0.75]], dtype=kind), 1e-8)
    assert torch.equal(divide(whole, total.expand(2, 3)), quotient)
    assert torch.equal(whole, relevance.expand(2, 3))
    assert torch.equal(relevance, before[0])
    assert torch.equal(total, before[1])
