"""Modified gradients by formulas and by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.conftest import assert_close
from tests.explainers.relevance.by_loops import random, relevances
from tests.explainers.relevance.tables import gradients
from ttame.errors import ExplainerError
from ttame.explainers.relevance.propagation import propagating


def test_normalisation_with_a_constant_deviation() -> None:
    """Centring stays, and nothing goes through the divisor."""
    values, scale, relevance = random(3, 4), random(4), random(3, 4)
    (found,) = relevances(
        gradients(), lambda z: F.layer_norm(z, (4,), scale, scale, 1e-3), relevance, values
    )
    for row in range(3):
        mean = float(values[row].mean())
        deviation = math.sqrt(sum((float(z) - mean) ** 2 for z in values[row]) / 4 + 1e-3)
        weighted = relevance[row] * scale / deviation
        assert_close(found[row], weighted - weighted.mean(), 1e-9)


@pytest.mark.parametrize("eps", [None, 1e-3])
def test_root_mean_squares_and_norms_are_constants(eps: float | None) -> None:
    values, scale, relevance = random(3, 4), random(4), random(3, 4)
    (found,) = relevances(gradients(), lambda z: F.rms_norm(z, (4,), scale, eps), relevance, values)
    root = (values.square().mean(dim=1, keepdim=True) + (eps or 0)).sqrt()
    assert_close(found, relevance * scale / root, 1e-9)
    (found,) = relevances(gradients(), lambda z: F.normalize(z, dim=0), relevance, values)
    assert_close(found, relevance / values.square().sum(dim=0, keepdim=True).sqrt(), 1e-9)


def test_group_norm_has_no_modified_gradient() -> None:
    with pytest.raises(
        ExplainerError,
        match=r"operation normalisation \(group_norm\), for which HeldScale",
    ):
        relevances(gradients(), lambda z: F.group_norm(z, 2), None, random(3, 4))


def test_the_slope_of_an_activation_is_its_value_over_its_input() -> None:
    values = torch.tensor([-2.0, -1e-9, 0.0, 0.5, 3.0], dtype=torch.float64)
    activations: list[tuple[Callable[..., Tensor], float]] = [
        (F.gelu, 0.5),
        (F.silu, 0.5),
        (F.relu, 1.0),
    ]
    for activation, at_zero in activations:
        (found,) = relevances(gradients(), activation, None, values)
        for z, slope in zip(values.tolist(), found.tolist(), strict=True):
            limit = at_zero if abs(z) < 1e-6 else float(activation(torch.tensor(z).double())) / z
            assert slope == pytest.approx(limit, abs=1e-6)


@pytest.mark.parametrize("operation", [torch.mul, torch.matmul])
def test_factors_that_depend_on_the_image_have_half_their_gradients(operation: Any) -> None:
    left, right, relevance = random(3, 3), random(3, 3), random(3, 3)
    leaves = [left.clone().requires_grad_(), right.clone().requires_grad_()]
    plain = torch.autograd.grad(operation(*leaves), leaves, relevance)
    found = relevances(gradients(), operation, relevance, left, right)
    for one, gradient in zip(found, plain, strict=True):
        assert_close(one, gradient / 2, 1e-9)
    (alone,) = relevances(gradients(), lambda z: operation(z, right), relevance, left)
    assert_close(alone, plain[0], 1e-9)


def test_a_divisor_is_a_constant() -> None:
    left, right, relevance = random(2, 3), random(2, 3), random(2, 3)
    leaves = [left.clone().requires_grad_(), right.clone().requires_grad_()]
    with propagating(gradients(), "relevance", "this network"):
        quotient = leaves[0] / leaves[1]
    found, nothing = torch.autograd.grad(quotient, leaves, relevance, allow_unused=True)
    assert_close(found, relevance / right, 1e-9)
    assert nothing is None


def test_constant_attention_gets_nothing() -> None:
    values, weight = random(2, 3), random(2, 3)

    def weighted(values: Tensor) -> Tensor:
        return values.softmax(dim=1) * weight + values

    (held,) = relevances(gradients(attention_is_constant=True), weighted, None, values)
    assert torch.equal(held, torch.ones_like(values))
    leaf = values.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(weighted(leaf).sum(), leaf)
    (found,) = relevances(gradients(), weighted, None, values)
    assert_close(found, gradient, 1e-9)


def test_the_gamma_rule_by_hand() -> None:
    """z = (2, −3) and W = (4, 1): 8 − 3 = 5 is positive, so with γ = 1 the 8 counts twice.

    16 − 3 = 13 stands for 5: gradients 8·5/13 and 1·5/13. With W = (1, 4), 2 − 12 = −10, the −12
    counts twice: 2 − 24 = −22, gradients 1·10/22 and 8·10/22.
    """
    values = torch.tensor([[2.0, -3.0]]).double()
    weight = torch.tensor([[4.0, 1.0]]).double()
    rules = gradients(gamma_linear=1)
    (found,) = relevances(rules, lambda z: F.linear(z, weight), None, values)
    assert_close(found, torch.tensor([[40 / 13, 5 / 13]]).double(), 1e-6)
    (found,) = relevances(rules, lambda z: F.linear(z, weight.flip(1)), None, values)
    assert_close(found, torch.tensor([[10 / 22, 80 / 22]]).double(), 1e-6)
    (found,) = relevances(gradients(), lambda z: F.linear(z, weight), None, values)
    assert_close(found, weight, 1e-9)
