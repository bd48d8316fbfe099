"""Rules without weights: by contribution, passed on, cut; see also test_relevance_rules."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.conftest import assert_close
from ttame.errors import ExplainerError
from ttame.explainers.relevance.matches import Operation
from ttame.explainers.relevance.operation_calls import OPERATIONS
from ttame.explainers.relevance.operation_rules import Constant, Norm, Pass, Product, SameSign, Sum
from ttame.explainers.relevance.propagation import propagating
from ttame.explainers.relevance.rule import Rule
from ttame.explainers.relevance.rule_table import RuleTable


def shares(
    rule: Rule, operation: Callable[..., Tensor], given: Tensor | None, *inputs: Tensor
) -> list[Tensor]:
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    with propagating(RuleTable((Operation(*OPERATIONS), rule)), "relevance", "this network"):
        output = operation(*leaves)
    assert_close(output, operation(*inputs), 1e-12)
    return list(
        torch.autograd.grad(output, leaves, torch.ones_like(output) if given is None else given)
    )


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def test_sums_by_contribution() -> None:
    left, right, given = random(2, 3), random(3), random(2, 3)
    of_left, of_right = shares(Norm(0.5), lambda u, v: u - v, given, left, right)
    total = left - right
    quotient = given / (total + 0.5 * total.sign())
    assert_close(of_left, left * quotient, 1e-9)
    assert_close(of_right, (-right * quotient).sum(dim=0), 1e-9)


def test_a_number_takes_its_share_of_a_sum() -> None:
    """3 + 1 and 1 - 3: shares 3/4, and 3/2 with the number's -1/2."""
    values = torch.tensor([3.0]).double()
    for operation, share in ((lambda z: z + 1, 3 / 4), (lambda z: 1 - z, 3 / 2)):
        (found,) = shares(Norm(), operation, None, values)
        assert_close(found, torch.tensor([share]).double(), 1e-6)


LINEAR: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda z: z.mean(dim=1),
    "pooling": lambda z: F.avg_pool2d(z, 2),
    "batch norm": lambda z: F.batch_norm(z, *BATCH_NORM),
}
BATCH_NORM = [torch.tensor(row).double() for row in ([1.0, -2], [0.5, 3], [-1.5, 2], [0.25, -1])]


@pytest.mark.parametrize("name", LINEAR)
def test_what_is_linear_shares_by_contribution(name: str) -> None:
    """R_x = Σ_j x_i J_ji R_j / y_j, with the Jacobian J row by row."""
    operation, values = LINEAR[name], random(1, 2, 2, 2)
    (found,) = shares(Norm(0), operation, None, values)
    jacobian = torch.autograd.functional.jacobian(operation, values)  # type: ignore[no-untyped-call]
    output = operation(values).flatten()
    expected = (jacobian.flatten(0, -5) / output[:, None, None, None, None]).sum(dim=0) * values
    assert_close(found, expected, 1e-9)


def test_a_normalisation_shares_with_its_deviation_held() -> None:
    values, scale, shift, given = random(4), random(4), random(4), random(4)
    (found,) = shares(Norm(0), lambda z: F.layer_norm(z, (4,), scale, shift, 1e-3), given, values)
    deviation = float((values - values.mean()).square().mean() + 1e-3) ** 0.5
    expected = torch.zeros(4).double()
    for j in range(4):
        output = (values[j] - values.mean()) / deviation * scale[j] + shift[j]
        for i in range(4):
            slope = ((1 if i == j else 0) - 1 / 4) / deviation * scale[j]
            expected[i] += values[i] * slope * given[j] / output
    assert_close(found, expected, 1e-9)


def test_what_is_constant_gets_nothing() -> None:
    values, weight = random(2, 3), random(2, 3)
    table = RuleTable((Operation("softmax"), Constant()), (Operation("multiply"), Pass()),
                      (Operation("add"), Norm(0)))  # fmt: skip
    leaf = values.clone().requires_grad_()
    with propagating(table, "relevance", "this network"):
        output = leaf.softmax(dim=1) * weight + leaf
    assert_close(output, values.softmax(dim=1) * weight + values, 1e-12)
    (found,) = torch.autograd.grad(output.sum(), leaf)
    assert_close(found, values / output.detach(), 1e-9)


NOT_MEANT: list[tuple[Rule, Callable[[Tensor], Tensor]]] = [
    (Pass(), lambda z: z + z * 2),
    (Pass(), lambda z: z.mean(dim=1)),
    (Pass(), lambda z: z * z),
    (Pass(), lambda z: torch.div(2, z)),
    (Norm(), F.relu),
    (Norm(), lambda z: F.group_norm(z, 1)),
    (Norm(), lambda z: F.batch_norm(z, None, None, training=True)),
    (Norm(), lambda z: z * z),
    (Sum(), F.relu),
    (Product(), F.relu),
    (SameSign(), F.relu),
]


@pytest.mark.parametrize("index", range(len(NOT_MEANT)))
def test_a_rule_refuses_what_it_is_not_meant_for(index: int) -> None:
    rule, operation = NOT_MEANT[index]
    with pytest.raises(ExplainerError, match=r"for which .*\(.*\) is not meant; try: a first row"):
        shares(rule, operation, None, random(3, 3))


def test_numbers_that_are_refused() -> None:
    with pytest.raises(ExplainerError, match=r"epsilon=-1 for Norm; allowed: at least 0"):
        Norm(-1)
