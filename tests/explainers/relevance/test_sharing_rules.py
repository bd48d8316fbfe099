"""Sums, products and averages by loops over numbers, in double precision, and by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.conftest import assert_close
from tests.explainers.relevance.by_loops import CLOSE, linear_by_loops, random, relevances
from tests.explainers.relevance.tables import conserving
from ttame.errors import ExplainerError
from ttame.explainers.relevance.sharing_rules import (
    AverageShares,
    SumShares,
    by_contribution,
    normalised,
)
from ttame.explainers.relevance.stabilisers import (
    divide_sign_aware,
)


def test_a_sum_by_hand() -> None:
    """3 + 1 and 1 − 2: plain shares 3, 1 of 4 and 1, −2 of −1.

    Left 0.75 − 1 = −0.25 and right 0.25 + 2 = 2.25 of 2: normalised 0.2 and 1.8.
    """
    left, right = torch.tensor([[3.0, 1.0]]), torch.tensor([[1.0, -2.0]])
    plain = relevances(conserving(sums="plain"), torch.add, None, left, right)
    assert_close(plain[0], torch.tensor([[0.75, -1.0]]), 1e-6)
    assert_close(plain[1], torch.tensor([[0.25, 2.0]]), 1e-6)
    scaled = relevances(conserving(), torch.add, None, left, right)
    assert_close(scaled[0], torch.tensor([[0.75, -1.0]]) * 0.2 / -0.25, 1e-6)
    assert_close(scaled[1], torch.tensor([[0.25, 2.0]]) * 1.8 / 2.25, 1e-6)
    absolute = relevances(conserving(sums="absolute"), torch.add, None, left, right)
    assert_close(absolute[0], torch.tensor([[3 / 4, 1 / 3]]), 1e-6)
    assert_close(absolute[1], torch.tensor([[1 / 4, 2 / 3]]), 1e-6)


def normalised_by_loops(left: Tensor, right: Tensor, relevance: Tensor) -> list[Tensor]:
    """Image by image."""
    results = [torch.zeros_like(left), torch.zeros_like(right)]
    for image in range(len(left)):
        sums = [float(left[image].sum()), float(right[image].sum())]
        whole = float(relevance[image].sum())
        for result, part, own in zip(results, (left, right), sums, strict=True):
            goal = abs(own) / (abs(sums[0]) + abs(sums[1])) * whole
            result[image] = part[image] * goal / own
    return results


def test_sums_are_normalised_by_image() -> None:
    left, right, relevance = random(3, 4, 5), random(3, 4, 5), random(3, 4, 5)
    found = relevances(conserving(), torch.add, relevance, left, right, images=3)
    quotient = relevance / (left + right)
    expected = normalised_by_loops(left * quotient, right * quotient, relevance)
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other, 1e-6)
    total = sum(part.sum(dim=(1, 2)) for part in found)
    assert isinstance(total, Tensor)
    assert_close(total, relevance.sum(dim=(1, 2)), 1e-6)


def test_windows_of_an_image_are_normalised_together() -> None:
    left, right, relevance = random(6, 4), random(6, 4), random(6, 4)
    found = normalised(left, right, relevance, 2, divide_sign_aware)
    expected = normalised_by_loops(
        left.reshape(2, -1), right.reshape(2, -1), relevance.reshape(2, -1)
    )
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other.reshape(6, 4), 1e-6)


def test_another_first_dimension_than_the_batch_is_an_error() -> None:
    values = random(3, 4)
    with pytest.raises(ExplainerError, match=r"shape \(3, 4\) for 2 images; allowed: operations"):
        normalised(values, values, values, 2, divide_sign_aware)


def test_a_summand_that_is_repeated_gathers_its_relevance() -> None:
    left, right, relevance = random(2, 3, 4), random(1, 3, 1), random(2, 3, 4)
    rule = SumShares(None, divide_sign_aware)
    of_left, of_right = rule(relevance, left, right)
    quotient = relevance / (left + right)
    assert_close(of_left, left * quotient, 1e-6)
    expected = torch.zeros(1, 3, 1, dtype=torch.float64)
    for index in torch.cartesian_prod(*map(torch.arange, relevance.shape)).tolist():
        expected[0, index[1], 0] += right[0, index[1], 0] * quotient[tuple(index)]
    assert_close(of_right, expected, 1e-6)


def product_by_loops(relevance: Tensor, left: Tensor, right: Tensor) -> list[Tensor]:
    """The whole relevance to each factor of (t, s) @ (s, d)."""
    results = [torch.zeros_like(left), torch.zeros_like(right)]
    for t, d in torch.cartesian_prod(*map(torch.arange, relevance.shape)).tolist():
        products = [float(left[t, s] * right[s, d]) for s in range(len(right))]
        for s, product in enumerate(products):
            share = float(relevance[t, d]) * product / sum(products)
            results[0][t, s] += share
            results[1][s, d] += share
    return results


@pytest.mark.parametrize("products", ["normalised", "halved"])
def test_matrix_products(products: Any) -> None:
    left, right, relevance = random(2, 3, 4), random(2, 4, 5), random(2, 3, 5)
    rules = conserving(products=products)
    found = relevances(rules, torch.matmul, relevance, left, right, images=2)
    for image in range(2):
        expected = product_by_loops(relevance[image], left[image], right[image])
        for one, other in zip(found, expected, strict=True):
            # Both are the whole relevance, so that normalised they are halves as well.
            assert_close(one[image], other / 2, 1e-6)
            half = float(relevance[image].sum()) / 2
            assert float(one[image].sum()) == pytest.approx(half, rel=1e-5)


def test_products_are_normalised_where_a_stabiliser_takes_something() -> None:
    """Divisors as small as the stabiliser take half of the relevance, normalising gives it back."""
    left, right = torch.full((1, 1), 1e-5).double(), torch.full((1, 1), 1e-4).double()
    shares: dict[Any, float] = {"halved": 0.25, "normalised": 0.5}
    for products, share in shares.items():
        for operation in (torch.mul, torch.matmul):
            for part in relevances(conserving(products=products), operation, None, left, right):
                assert float(part) == pytest.approx(share)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_matrix_product_with_a_constant_is_a_linear_layer(side: str) -> None:
    values, constant = random(3, 4), random(4, 5)
    relevance = random(3, 5)
    if side == "right":
        (found,) = relevances(conserving(), lambda z: z @ constant, relevance, values)
    else:
        (turned,) = relevances(
            conserving(), lambda z: constant.T @ z, relevance.T.contiguous(), values.T
        )
        found = turned.T
    assert_close(found, linear_by_loops(relevance, values, constant.T, "joint"), CLOSE)


def test_gates_share_in_halves() -> None:
    left, right, relevance = random(2, 3), random(2, 3), random(2, 3)
    for products in ("normalised", "halved"):
        rules = conserving(products=products)
        for part in relevances(rules, torch.mul, relevance, left, right, images=2):
            assert_close(part, relevance / 2, 1e-6)


def average_by_loops(relevance: Tensor, values: Tensor) -> Tensor:
    """(n,) means of rows: all to the values of the mean's sign, by their size."""
    result = torch.zeros_like(values)
    for row, given in enumerate(relevance.tolist()):
        sign = -1 if float(values[row].sum()) < 0 else 1
        kept = [max(sign * float(value), 0) for value in values[row]]
        for place, value in enumerate(kept):
            result[row, place] = given * value / sum(kept)
    return result


AVERAGES: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda values: values.mean(dim=1),
    "sum": lambda values: values.sum(1),
    "torch mean": lambda values: torch.mean(values, dim=-1),
    "pooled": lambda values: F.adaptive_avg_pool2d(values[:, None, None], 1).flatten(),
    "window": lambda values: F.avg_pool2d(values[:, None, None], (1, 6)).flatten(),
}


@pytest.mark.parametrize("average", AVERAGES)
def test_averages_give_to_the_values_of_their_sign(average: str) -> None:
    values, relevance = random(4, 6).abs(), random(4)
    values[1] *= -1
    values[2, :2] *= -0.1
    values[3, :4] *= -9
    (found,) = relevances(conserving(), AVERAGES[average], relevance, values)
    assert_close(found, average_by_loops(relevance, values), CLOSE)
    assert_close(found.sum(dim=1), relevance, CLOSE)


def test_an_average_of_nothing_keeps_its_relevance() -> None:
    rule = AverageShares(lambda values: values.mean(dim=1), divide_sign_aware)
    (found,) = rule(torch.ones(1), torch.zeros(1, 3))
    assert found.tolist() == [[0, 0, 0]]


def test_contributions_of_several_parts() -> None:
    """v ⊙ Wᵀ(R/Z) over (2, 1)·(3, 1) and (5)·(2): Z = 6 + 1 + 10 for R = 17."""
    found = by_contribution(
        F.linear,
        divide_sign_aware,
        torch.tensor([[17.0]]),
        (torch.tensor([[2.0, 1.0]]), torch.tensor([[3.0, 1.0]])),
        (torch.tensor([[5.0, 0.0]]), torch.tensor([[2.0, 9.0]])),
    )
    assert_close(found, torch.tensor([[16.0, 1.0]]), 1e-6)
