"""Functions in parts: the same numbers as torch, and the parts that rules need to see."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.conftest import assert_close
from ttame.explainers.relevance.matches import Operation
from ttame.explainers.relevance.operation_calls import OPERATIONS
from ttame.explainers.relevance.operation_rules import Constant, Norm, Pass, Product
from ttame.explainers.relevance.propagation import propagating
from ttame.explainers.relevance.rule_table import RuleTable
from ttame.networks.function_parts import einsum_in_parts
from ttame.networks.function_replacement import replacing_functions

EINSUMS: dict[str, list[tuple[int, ...]]] = {
    "bhid,bhjd->bhij": [(2, 3, 4, 5), (2, 3, 6, 5)],
    "...id,...jd->...ij": [(2, 3, 4, 5), (2, 3, 6, 5)],
    "bnd,hde->bhne": [(2, 4, 5), (3, 5, 6)],
    "bchw,bc->bchw": [(2, 3, 4, 5), (2, 3)],
    "bchw,bchw->b": [(2, 3, 4, 5), (2, 3, 4, 5)],
    "ij,jk,kl": [(2, 3), (3, 4), (4, 5)],
    "i,j->ij": [(2,), (3,)],
    "i,i": [(3,), (3,)],
    "ij,kl->jilk": [(2, 3), (4, 5)],
    "bhij->bhji": [(1, 2, 3, 4)],
    "bhij->b": [(1, 2, 3, 4)],
    "nkctv,kvw->nctw": [(2, 3, 4, 5, 6), (3, 6, 7)],
    "b i d, b j d -> b i j": [(2, 3, 4), (2, 5, 4)],
    "ba,cb": [(2, 3), (4, 2)],
    "bhij,bhjd,hde->bie": [(2, 3, 4, 4), (2, 3, 4, 5), (3, 5, 6)],
}


@pytest.mark.parametrize("equation", EINSUMS)
def test_einsum_in_parts_is_einsum(equation: str) -> None:
    torch.manual_seed(0)
    operands = [torch.randn(shape, dtype=torch.float64) for shape in EINSUMS[equation]]
    assert_close(einsum_in_parts(equation, *operands), torch.einsum(equation, *operands), 1e-12)


def test_diagonals_and_lists_are_left_to_torch() -> None:
    square = torch.randn(3, 3)
    assert einsum_in_parts("ii->i", square) is NotImplemented
    assert einsum_in_parts(square, [0, 1], [1, 0]) is NotImplemented
    assert einsum_in_parts("ij,jk", square, torch.randn(1, 2)) is NotImplemented


def test_a_factor_that_lies_as_is_wanted_is_known_again() -> None:
    weights, values, seen = torch.randn(1, 2, 3, 3), torch.randn(1, 2, 3, 4), list[Tensor]()

    def look(function, args, kwargs):  # type: ignore[no-untyped-def]
        seen.append(args[0])
        return function(*args, **kwargs)

    with replacing_functions({"matrix product": look}):
        torch.einsum("bhij,bhjd->bhid", weights, values)
    assert seen[0] is weights


RULES = RuleTable(
    (Operation("add", "subtract", "average"), Norm(0)),
    (Operation("activation", "divide"), Pass()),
    (Operation("matrix product", "multiply"), Product("halved")),
    (Operation(*OPERATIONS), Pass()),
)


def relevance(  # type: ignore[no-untyped-def]
    operation, *inputs: Tensor, rules: RuleTable = RULES
) -> list[Tensor]:
    leaves = [each.clone().requires_grad_() for each in inputs]
    with propagating(rules, "relevance", "this network"):
        output = operation(*leaves)
    assert_close(output, operation(*inputs), 1e-12)
    return list(torch.autograd.grad(output, leaves, torch.ones_like(output)))


def test_a_norm_shares_by_squares() -> None:
    """(3, 4): 9/25 and 16/25 of what the norm is given."""
    for norm in (lambda z: z.norm(dim=1), lambda z: torch.linalg.vector_norm(z, dim=1)):
        (found,) = relevance(norm, torch.tensor([[3.0, -4.0]]).double())
        assert_close(found, torch.tensor([[9 / 25, 16 / 25]]).double(), 1e-6)


def test_a_norm_as_divisor_counts_as_a_constant() -> None:
    values = torch.tensor([[3.0, -4.0]]).double()
    (found,) = relevance(lambda z: z / (z.norm(dim=1, keepdim=True) + 1e-6), values)
    assert_close(found, torch.ones(1, 2).double(), 1e-9)


def test_negatives_and_powers_pass_relevance_on() -> None:
    values = torch.tensor([[3.0, -4.0]]).double()
    for operation in (lambda z: -z, lambda z: z**2, torch.square, lambda z: z.pow(3)):
        (found,) = relevance(operation, values)
        assert_close(found, torch.ones(1, 2).double(), 1e-9)


def test_baddbmm_leaves_out_what_counts_nothing() -> None:
    """As in torch, where β = 0 even NaN in memory that nobody has written to is left out."""
    unwritten, a, b = torch.full((1, 2, 2), torch.nan), torch.ones(1, 2, 3), torch.ones(1, 3, 2)
    with replacing_functions({"matrix product": lambda function, args, kwargs: function(*args)}):
        found = torch.baddbmm(unwritten, a, b, beta=0)
    assert torch.equal(found, torch.full((1, 2, 2), 3.0))


def test_baddbmm_is_a_product_and_a_sum() -> None:
    """z + αab with one place: shares z/(z + αab), the rest halved between the factors."""
    z, a, b = (torch.full((1, 1, 1), value).double() for value in (1.0, 2.0, 3.0))
    found = relevance(lambda z, a, b: torch.baddbmm(z, a, b, alpha=0.5), z, a, b)
    assert_close(torch.stack(found).flatten(), torch.tensor([1 / 4, 3 / 8, 3 / 8]).double(), 1e-9)


def test_a_row_that_names_the_function_gets_it_whole() -> None:
    """Of z + z·z only the first summand has relevance, z/(z + z²), with a constant product."""
    values = torch.tensor([[1.0, 3.0]]).double()
    named = (Operation("einsum"), Constant())
    elsewhere = (Operation("einsum") & Operation("softmax"), Constant())
    for row, share in ((named, [1 / 2, 1 / 4]), (elsewhere, [1.0, 1.0])):
        (found,) = relevance(
            lambda z: z + torch.einsum("ij,ij->ij", z, z), values, rules=RULES.with_first(row)
        )
        assert_close(found, torch.tensor([share]).double(), 1e-9)


@pytest.mark.parametrize(
    "name", ["norm", "vector_norm", "neg", "baddbmm", "scaled_dot_product_attention"]
)
def test_every_function_that_is_taken_apart_can_be_named(name: str) -> None:
    tokens = torch.randn(1, 2, 2)
    calls = {
        "norm": lambda z: z.norm(dim=1),
        "vector_norm": torch.linalg.vector_norm,
        "neg": torch.neg,
        "baddbmm": lambda z: torch.baddbmm(z, z, z),
        "scaled_dot_product_attention": lambda z: F.scaled_dot_product_attention(z, z, z),
    }
    rules = RULES.with_first((Operation(name), Constant()))
    with propagating(rules, "relevance", "this network"):
        assert not calls[name](tokens.requires_grad_()).requires_grad
