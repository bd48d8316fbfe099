"""Rules of linear maps by loops over numbers, in double precision, and by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.conftest import assert_close
from ttame.errors import ExplainerError
from ttame.explainers.relevance.gradient_rules import GammaGradient, Gradient
from ttame.explainers.relevance.matches import WEIGHTED, Operation
from ttame.explainers.relevance.operation_rules import Pass
from ttame.explainers.relevance.propagation import propagating
from ttame.explainers.relevance.rule import Rule
from ttame.explainers.relevance.rule_table import RuleTable
from ttame.explainers.relevance.weighted_map import Weighted
from ttame.explainers.relevance.weighted_rules import (
    Absolute,
    AlphaBeta,
    Epsilon,
    Flat,
    Gamma,
    WeightedRule,
    WSquare,
    ZBox,
    ZPlus,
)

CLOSE = 1e-6

Share = Callable[[float, float, list[float], float], float]
"""The share of an input with value z and weight w in an output with all its products and a bias."""


def of_epsilon(z: float, w: float, products: list[float], bias: float) -> float:
    output = sum(products) + bias
    return z * w / (output + (0.5 if output > 0 else -0.5))


def of_alpha_beta(z: float, w: float, products: list[float], bias: float) -> float:
    raised = sum(p for p in products if p > 0) + max(bias, 0)
    lowered = sum(p for p in products if p < 0) + min(bias, 0)
    return 3 * z * w / raised if z * w > 0 else -2 * z * w / lowered


def of_z_plus(z: float, w: float, products: list[float], _bias: float) -> float:
    raised = sum(p for p in products if p > 0)
    return max(z * w, 0) / raised if raised else 0


def of_gamma(z: float, w: float, products: list[float], bias: float) -> float:
    sign = 1 if sum(products) + bias > 0 else -1

    def larger(part: float) -> float:
        return part * 1.25 if sign * part > 0 else part

    return larger(z * w) / (sum(map(larger, products)) + larger(bias))


def of_box(z: float, w: float, products: list[float], _bias: float) -> float:
    del products
    return z * w + 3 * max(w, 0) - 5 * min(w, 0)


RULES: dict[str, tuple[WeightedRule, Share]] = {
    "epsilon": (Epsilon(0.5), of_epsilon),
    "alpha beta": (AlphaBeta(3, 2), of_alpha_beta),
    "z plus": (ZPlus(), of_z_plus),
    "gamma": (Gamma(0.25), of_gamma),
}


def by_loops(
    relevance: Tensor, values: Tensor, weight: Tensor, bias: Tensor, share: Share
) -> Tensor:
    result = torch.zeros_like(values)
    for row in range(len(values)):
        for j in range(len(weight)):
            z, w = values[row].tolist(), weight[j].tolist()
            products = [a * b for a, b in zip(z, w, strict=True)]
            for i in range(len(z)):
                part = share(z[i], w[i], products, float(bias[j]))
                result[row, i] += float(relevance[row, j]) * part
    return result


def shares(
    rule: Rule, operation: Callable[[Tensor], Tensor], values: Tensor, given: Tensor
) -> Tensor:
    """Relevance of an input, from that of the output, by the network's own operations."""
    rest: Rule = Gradient() if rule.carries == "gradient" else Pass()
    table = RuleTable((WEIGHTED, rule), (Operation("batch norm", "multiply"), rest))
    leaf = values.clone().requires_grad_()
    with propagating(table, "relevance", "this network"):
        output = operation(leaf)
    assert_close(output, operation(values), 1e-12)
    (found,) = torch.autograd.grad(output, leaf, given)
    return found


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("name", RULES)
def test_linear_layers(name: str) -> None:
    rule, share = RULES[name]
    values, weight, bias, given = random(4, 6), random(3, 6), random(3), random(4, 3)
    found = shares(rule, lambda z: F.linear(z, weight, bias), values, given)
    assert_close(found, by_loops(given, values, weight, bias, share), CLOSE)
    product = shares(rule, lambda z: z @ weight.T, values, given)
    assert_close(product, by_loops(given, values, weight, torch.zeros(3), share), CLOSE)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("settings", [{}, {"stride": 2, "padding": 1}])
def test_convolutions_are_linear_layers_of_their_windows(
    name: str, settings: dict[str, int]
) -> None:
    rule, share = RULES[name]
    values, weight, bias = random(1, 2, 5, 6), random(3, 2, 3, 2), random(3)

    def convolve(inputs: Tensor) -> Tensor:
        return torch.conv2d(inputs, weight, bias, **settings)

    given = torch.randn_like(convolve(values))
    windows = F.unfold(values, (3, 2), **settings)[0].T  # type: ignore[arg-type]
    rows = by_loops(given[0].flatten(1).T, windows, weight.flatten(1), bias, share)
    expected = F.fold(rows.T[None], (5, 6), (3, 2), **settings)  # type: ignore[arg-type]
    assert_close(shares(rule, convolve, values, given), expected, CLOSE)


def test_two_inputs_and_one_output_by_hand() -> None:
    """z = (2, -3), w = (4, 1), b = 1: contributions 8 and -3 of y = 6, relevance 6."""
    values, weight = torch.tensor([[2.0, -3.0]]).double(), torch.tensor([[4.0, 1.0]]).double()
    layer = Weighted(values, weight, torch.tensor([1.0]).double(), F.linear)
    given = torch.tensor([[6.0]]).double()
    expected = {
        Epsilon(0): [8, -3],
        Epsilon(6): [4, -1.5],
        ZPlus(): [6, 0],
        AlphaBeta(2, 1): [2 * 6 * 8 / 9, -6],
        Gamma(1): [6 * 16 / 15, -6 * 3 / 15],
        WSquare(): [6 * 16 / 17, 6 / 17],
        Flat(): [3, 3],
        Absolute(): [6 * 8 / 11, 6 * 3 / 11],
        ZBox(-4, 2): [6 * 24 / 25, 6 / 25],
    }
    for rule, of_inputs in expected.items():
        found = rule.share(given, layer)
        assert_close(found, torch.tensor([of_inputs]).double(), CLOSE)


@pytest.mark.parametrize("rule", [Epsilon(0), ZPlus(), AlphaBeta(2, 1), Gamma(0.25), ZBox(-9, 9),
                                  WSquare(), Flat(), Absolute()], ids=repr)  # fmt: skip
def test_relevance_is_conserved_without_bias(rule: WeightedRule) -> None:
    values, weight, given = random(5, 40), random(3, 40), random(5, 3)
    found = shares(rule, lambda z: F.linear(z, weight), values, given)
    assert_close(found.sum(dim=1), given.sum(dim=1), 1e-6)


def test_what_falls_to_the_bias_no_input_gets() -> None:
    """z w = 3 and b = 1: three quarters, but for rules that ignore the bias."""
    layer = Weighted(torch.ones(1, 1), torch.full((1, 1), 3.0), torch.ones(1), F.linear)
    for rule, share in {Epsilon(): 0.75, Gamma(7): 0.75, AlphaBeta(1, 0): 0.75, ZPlus(): 1}.items():
        assert float(rule.share(torch.ones(1, 1), layer)) == pytest.approx(share, rel=1e-5)


def test_flat_shares_know_the_border() -> None:
    """Three pixels, windows of three: the outputs at the border have two inputs."""
    found = shares(
        Flat(),
        lambda z: torch.conv1d(z, torch.ones(1, 1, 3).double(), padding=1),
        random(1, 1, 3),
        torch.ones(1, 1, 3).double(),
    )
    expected = torch.tensor([[[1 / 2 + 1 / 3, 1 / 2 + 1 / 3 + 1 / 2, 1 / 3 + 1 / 2]]]).double()
    assert_close(found, expected, CLOSE)


def test_an_output_of_zero_gives_nothing_and_divides_by_nothing() -> None:
    layer = Weighted(torch.ones(1, 2), torch.tensor([[1.0, -1.0]]), None, F.linear)
    for rule in (Epsilon(), Epsilon(0), Gamma()):
        assert rule.share(torch.ones(1, 1), layer).tolist() == [[0, 0]]


def test_the_gamma_rule_is_the_one_in_gradients() -> None:
    """Relevance is input times gradient: R = z g from R = y g."""
    values, weight, bias, given = random(4, 6), random(3, 6), random(3), random(4, 3)

    def run(z: Tensor) -> Tensor:
        return F.linear(z, weight, bias)

    gradient = shares(GammaGradient(0.4), run, values, given)
    found = shares(Gamma(0.4), run, values, given * run(values))
    assert_close(found, values * gradient, 1e-6)


MERGED: list[WeightedRule] = [
    Epsilon(0),
    ZPlus(),
    AlphaBeta(2, 1),
    Gamma(0.5),
    WSquare(),
    Absolute(),
]


@pytest.mark.parametrize("rule", MERGED, ids=repr)
@pytest.mark.parametrize("with_bias", [True, False])
def test_a_batch_norm_belongs_to_the_convolution_before_it(
    rule: WeightedRule, with_bias: bool
) -> None:
    """As if weights and bias were multiplied and shifted; every second factor is negative."""
    values, weight = random(2, 3, 4, 4), random(4, 3, 3, 3)
    bias = random(4) if with_bias else None
    mean, variance, shift = random(4), random(4).abs() + 0.1, random(4)
    scale = random(4).abs() * torch.tensor([1, -1, 1, -1])
    factor = scale / (variance + 1e-5).sqrt()
    merged_weight = weight * factor[:, None, None, None]
    merged_bias = ((0 if bias is None else bias) - mean) * factor + shift
    given = random(2, 4, 2, 2)
    found = shares(
        rule,
        lambda z: F.batch_norm(torch.conv2d(z, weight, bias), mean, variance, scale, shift),
        values,
        given,
    )
    expected = shares(rule, lambda z: torch.conv2d(z, merged_weight, merged_bias), values, given)
    assert_close(found, expected, 1e-6)


@pytest.mark.parametrize("rule", MERGED, ids=repr)
def test_a_layer_scale_belongs_to_the_linear_layer_before_it(rule: WeightedRule) -> None:
    values, weight, bias, given = random(4, 6), random(3, 6), random(3), random(4, 3)
    scale = torch.tensor([2.0, -0.1, 5.0]).double()
    found = shares(rule, lambda z: F.linear(z, weight, bias) * scale, values, given)
    expected = shares(
        rule, lambda z: F.linear(z, weight * scale[:, None], bias * scale), values, given
    )
    assert_close(found, expected, 1e-6)


@pytest.mark.parametrize("rule", MERGED, ids=repr)
def test_a_channel_that_a_batch_norm_switches_off_is_finite(rule: WeightedRule) -> None:
    values, weight, mean = random(2, 3, 4, 4), random(4, 3, 3, 3), random(4)
    scale = torch.tensor([1.0, 0.0, -1.0, 0.0]).double()
    shift = torch.tensor([0.5, 1.0, 0.0, -2.0]).double()
    found = shares(
        rule,
        lambda z: F.batch_norm(torch.conv2d(z, weight), mean, mean.abs(), scale, shift),
        values,
        random(2, 4, 2, 2),
    )
    assert torch.isfinite(found).all()


def test_limits_of_the_box_are_numbers_tensors_or_functions() -> None:
    values, weight, given = random(2, 3), random(4, 3), random(2, 4)
    layer = Weighted(values, weight, None, F.linear)
    low, high = torch.full((3,), -3.0).double(), torch.full((2, 1), 5.0).double()
    expected = ZBox(-3, 5).share(given, layer)
    assert torch.equal(ZBox(low, high).share(given, layer), expected)
    assert torch.equal(ZBox(lambda _z: low, lambda _z: high).share(given, layer), expected)
    total = torch.tensor(
        [[sum(of_box(z, w, [], 0) for z, w in zip(a, b, strict=True)) for b in weight.tolist()]
         for a in values.tolist()]
    ).double()  # fmt: skip
    by_hand = by_loops(given / total, values, weight, torch.zeros(4), of_box)
    assert_close(expected, by_hand, CLOSE)


def test_numbers_that_are_refused() -> None:
    with pytest.raises(ExplainerError, match=r"epsilon=-1 for Epsilon; allowed: at least 0"):
        Epsilon(-1)
    with pytest.raises(ExplainerError, match=r"gamma=inf for Gamma"):
        Gamma(float("inf"))
    with pytest.raises(ExplainerError, match=r"alpha - beta = 1.*try: beta=2 with alpha=3"):
        AlphaBeta(3, 1)
    with pytest.raises(ExplainerError, match=r"parts='own' for ZPlus; allowed: 'joint' or"):
        ZPlus("own")  # type: ignore[arg-type]
    with pytest.raises(ExplainerError, match=r"stabiliser='none' for ZBox"):
        ZBox(0, 1, "none")  # type: ignore[arg-type]


def test_sums_that_raise_are_had_from_the_output_too() -> None:
    values, weight, bias, given = random(5, 40), random(7, 40), random(7), random(5, 7)
    output, calls = F.linear(values, weight, bias), []

    def counted(z: Tensor, w: Tensor) -> Tensor:
        calls.append(z)
        return F.linear(z, w)

    plain = Weighted(values, weight, bias, F.linear)
    quick = Weighted(values, weight, bias, counted, output, lambda r, w: r @ w)
    assert_close(ZPlus().share(given, quick), ZPlus().share(given, plain), 1e-9)
    assert len(calls) == 1


def test_an_output_that_nothing_raises_gives_nothing_whatever_is_known_of_it() -> None:
    values, weight, given = random(5, 40).abs(), -random(7, 40).abs(), random(5, 7)
    output = F.linear(values, weight)
    layer = Weighted(values, weight, None, F.linear, output, lambda r, w: r @ w)
    assert not ZPlus().share(given, layer).any()
