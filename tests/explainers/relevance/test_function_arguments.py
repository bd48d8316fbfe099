"""Arguments by name, and those that make another operation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.conftest import assert_close
from tests.explainers.relevance.by_loops import CLOSE, random, relevances
from tests.explainers.relevance.tables import conserving, gradients
from ttame.errors import ExplainerError
from ttame.explainers.relevance.propagation import propagating
from ttame.explainers.relevance.rule_table import RuleTable

SCALE = torch.tensor([0.5, -1.5, 2.0]).double()

SQUARE = torch.tensor([[1.0, -2.0, 3.0], [0.5, 1.0, -1.0], [2.0, -0.5, 0.25]]).double()

KERNEL = torch.tensor([[[[1.0, -2.0], [0.5, 3.0]]]]).double()

BY_NAME: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "gelu": (lambda z: F.gelu(input=z), F.gelu),
    "gelu's form": (
        lambda z: F.gelu(input=z, approximate="tanh"),
        lambda z: F.gelu(z, approximate="tanh"),
    ),
    "relu": (lambda z: F.relu(input=z, inplace=False), F.relu),
    "relu_": (lambda z: torch.relu_(input=z * 1), torch.relu),
    "prelu": (lambda z: F.prelu(input=z, weight=SCALE[:1]), lambda z: F.prelu(z, SCALE[:1])),
    "softmax": (lambda z: torch.softmax(input=z, dim=-1), lambda z: z.softmax(-1)),
    "softmax's function": (lambda z: F.softmax(input=z, dim=-1), lambda z: z.softmax(-1)),
    "mean": (lambda z: torch.mean(input=z, dim=1), lambda z: z.mean(1)),
    "sum, as NumPy's": (lambda z: torch.sum(a=z, axis=1), lambda z: z.sum(1)),
    "average pooling": (
        lambda z: F.avg_pool2d(input=z[:, None], kernel_size=2),
        lambda z: F.avg_pool2d(z[:, None], 2),
    ),
    "layer norm": (
        lambda z: F.layer_norm(input=z, normalized_shape=(3,), weight=SCALE),
        lambda z: F.layer_norm(z, (3,), SCALE),
    ),
    "layer norm, torch's own": (
        lambda z: torch.layer_norm(
            input=z, normalized_shape=(3,), weight=SCALE, cudnn_enable=False
        ),
        lambda z: F.layer_norm(z, (3,), SCALE),
    ),
    "normalize": (lambda z: F.normalize(input=z, dim=1), lambda z: F.normalize(z, dim=1)),
    "batch norm": (
        lambda z: torch.batch_norm(
            input=F.linear(z, SQUARE).mT,
            weight=SCALE,
            bias=None,
            running_mean=SCALE,
            running_var=SCALE.abs(),
            training=False,
            momentum=0.1,
            eps=1e-5,
            cudnn_enabled=False,
        ),
        lambda z: F.batch_norm(F.linear(z, SQUARE).mT, SCALE, SCALE.abs(), SCALE),
    ),
    "linear": (
        lambda z: F.linear(input=z, weight=SQUARE, bias=SCALE),
        lambda z: F.linear(z, SQUARE, SCALE),
    ),
    "linear, as NumPy's": (lambda z: F.linear(x=z, weight=SQUARE), lambda z: F.linear(z, SQUARE)),  # type: ignore[call-arg]
    "convolution": (
        lambda z: torch.conv2d(input=z[:, None], weight=KERNEL, padding=1),
        lambda z: torch.conv2d(z[:, None], KERNEL, None, 1, 1),
    ),
    "add": (lambda z: torch.add(input=z, other=z * SCALE), lambda z: z + z * SCALE),
    "add, as NumPy's": (
        lambda z: torch.add(x1=z, x2=z * SCALE),  # type: ignore[call-overload]
        lambda z: z + z * SCALE,
    ),
    "add to a number": (lambda z: torch.add(input=2, other=z), lambda z: 2 + z),  # type: ignore[call-overload]
    "subtract": (
        lambda z: torch.sub(input=z, other=z * SCALE, alpha=2),
        lambda z: torch.sub(z, z * SCALE, alpha=2),
    ),
    "multiply": (lambda z: torch.mul(input=z, other=z * SCALE), lambda z: z * (z * SCALE)),
    "divide": (
        lambda z: torch.div(input=z, other=SCALE, rounding_mode=None),
        lambda z: z / SCALE,
    ),
    "matmul": (lambda z: torch.matmul(input=z, other=SQUARE), lambda z: z @ SQUARE),
    "matmul of a constant": (lambda z: torch.matmul(input=SQUARE, other=z), lambda z: SQUARE @ z),
    "matmul's method": (lambda z: z.matmul(other=z * SCALE), lambda z: z @ (z * SCALE)),
    "bmm": (lambda z: torch.bmm(input=z, mat2=z.mT), lambda z: z @ z.mT),
}


@pytest.mark.parametrize("rules", [conserving(), gradients()])
@pytest.mark.parametrize("operation", BY_NAME)
def test_arguments_may_be_given_by_name(rules: RuleTable, operation: str) -> None:
    by_name, by_place = BY_NAME[operation]
    values = random(2, 3, 3)
    relevance = torch.randn_like(by_place(values))
    (found,) = relevances(rules, by_name, relevance, values, images=2)
    (expected,) = relevances(rules, by_place, relevance, values, images=2)
    assert_close(found, expected, CLOSE)


@pytest.mark.parametrize("rules", [conserving(), gradients()])
def test_arguments_that_make_another_operation_are_an_error(
    rules: RuleTable,
) -> None:
    values = random(1, 3).requires_grad_()
    with propagating(rules, "relevance", "this network"):
        with pytest.raises(ExplainerError, match="rule for the operation div with rounding_mode$"):
            torch.div(values, 2, rounding_mode="floor")
        with pytest.raises(ExplainerError, match="rule for the operation add with out$"):
            torch.add(values, values, out=random(1, 3))
