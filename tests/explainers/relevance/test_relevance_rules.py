"""Every rule by loops over numbers, in double precision, and by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.conftest import assert_close
from tests.explainers.relevance.tables import conserving, gradients
from ttame.errors import ExplainerError
from ttame.explainers.methods.relevance.transformer_attribution import attribution_rules
from ttame.explainers.relevance.pixel_relevance import highest_of_image, lowest_of_image
from ttame.explainers.relevance.propagation import propagating
from ttame.explainers.relevance.rule_table import RuleTable
from ttame.explainers.relevance.sharing_rules import (
    AverageShares,
    SumShares,
    by_contribution,
    normalised,
)
from ttame.explainers.relevance.stabilisers import (
    DIVISIONS,
    divide_as_published,
    divide_sign_aware,
)
from ttame.explainers.relevance.weighted_rules import Absolute, Weighted, ZBox, ZPlus
from ttame.networks.function_replacement import attention_in_parts

CLOSE = 1e-6
"""Between rules with a stabiliser of 1e-9 and loops without one."""


def relevances(
    rules: RuleTable,
    operation: Callable[..., Tensor],
    relevance: Tensor | None,
    *inputs: Tensor,
    images: int = 1,
) -> list[Tensor]:
    """Relevances (or modified gradients) of inputs, from that of the output or from ones."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    with propagating(rules, "relevance", "this network", images=images):
        output = operation(*leaves)
    assert_close(output, operation(*inputs), 1e-9 if output.dtype == torch.float64 else 1e-5)
    start = torch.ones_like(output) if relevance is None else relevance
    return list(torch.autograd.grad(output, leaves, start))


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


# Divisions


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


# Linear layers and convolutions


def test_two_inputs_and_one_output_by_hand() -> None:
    """z = (2, −3), W = (4, −5), so W⁺z⁺ = 8 and W⁻z⁻ = 15; with W = (4, 5) only 8 remains."""
    values, weight = torch.tensor([[2.0, -3.0]]), torch.tensor([[4.0, -5.0]])
    relevance = torch.tensor([[2.3]])
    expected = {
        ZPlus(): [0.8, 1.5],
        ZPlus("separate"): [2.3, 2.3],
        Absolute(): [0.8, 1.5],
    }
    for rule, shares in expected.items():
        found = rule.share(relevance, Weighted(values, weight, None, F.linear))
        assert_close(found, torch.tensor([shares]), 1e-6)
    expected = {ZPlus(): [2.3, 0], ZPlus("separate"): [2.3, 0], Absolute(): [0.8, 1.5]}
    for rule, shares in expected.items():
        found = rule.share(relevance, Weighted(values, weight.abs(), None, F.linear))
        assert_close(found, torch.tensor([shares]), 1e-6)


def test_two_layers_by_hand() -> None:
    """Hidden: 1·3 + 2·1 = 5 and −1·3 + 1·1 = −2; rectified, only the first matters above.

    The rule of the second layer gives it all; 3 and 2 of 5 then are the shares of the pixels.
    """

    def network(values: Tensor) -> Tensor:
        first = torch.tensor([[1.0, 2.0], [-1.0, 1.0]])
        second = torch.tensor([[2.0, 7.0]])
        return F.linear(F.relu(F.linear(values, first, torch.tensor([1.0, -0.5]))), second)

    (found,) = relevances(conserving(), network, None, torch.tensor([[3.0, 1.0]]))
    assert_close(found, torch.tensor([[0.6, 0.4]]), 1e-6)


def linear_by_loops(relevance: Tensor, values: Tensor, weight: Tensor, kind: str) -> Tensor:
    result = torch.zeros_like(values)
    for row in range(len(values)):
        for j in range(len(weight)):
            products = [float(z) * float(w) for z, w in zip(values[row], weight[j], strict=True)]
            of_positive = [
                max(float(z), 0) * max(float(w), 0)
                for z, w in zip(values[row], weight[j], strict=True)
            ]
            of_negative = [
                min(float(z), 0) * min(float(w), 0)
                for z, w in zip(values[row], weight[j], strict=True)
            ]
            given = float(relevance[row, j])
            for i, product in enumerate(products):
                both = sum(of_positive) + sum(of_negative)
                if kind == "absolute":
                    share = abs(product) / sum(map(abs, products))
                elif kind == "joint":
                    share = (of_positive[i] + of_negative[i]) / both if both else 0
                else:
                    share = of_positive[i] / sum(of_positive) if sum(of_positive) else 0
                    share += of_negative[i] / sum(of_negative) if sum(of_negative) else 0
                result[row, i] += given * share
    return result


@pytest.mark.parametrize("kind", ["joint", "separate", "absolute"])
def test_linear_layers(kind: Any) -> None:
    values, weight, relevance = random(4, 5), random(3, 5), random(4, 3)
    rules = conserving(linear=kind)
    bias = random(3)
    (found,) = relevances(rules, lambda z: F.linear(z, weight, bias), relevance, values)
    assert_close(found, linear_by_loops(relevance, values, weight, kind), CLOSE)
    (tokens,) = relevances(
        rules, lambda z: F.linear(z, weight), relevance.reshape(2, 2, 3), values.reshape(2, 2, 5)
    )
    assert_close(tokens.reshape(4, 5), found, CLOSE)


@pytest.mark.parametrize("kind", ["joint", "absolute"])
def test_linear_layers_conserve_what_they_can_share(kind: Any) -> None:
    """An output that no input raised has nobody to give its relevance to."""
    values, weight, relevance = random(4, 5), random(3, 5), random(4, 3)
    weight[0], values[0] = -weight[0].abs(), values[0].abs()
    (found,) = relevances(conserving(linear=kind), lambda z: F.linear(z, weight), relevance, values)
    if kind == "joint":
        shared = (values[:, None] * weight > 0).any(dim=2)
        assert not shared[0, 0]
        relevance = relevance * shared
    assert_close(found.sum(dim=1), relevance.sum(dim=1), CLOSE)


@pytest.mark.parametrize("kind", ["joint", "separate", "absolute"])
@pytest.mark.parametrize(
    "settings", [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": (2, 0)}]
)
def test_convolutions_are_linear_layers_of_their_windows(kind: Any, settings: Any) -> None:
    values, weight, bias = random(2, 2, 6, 7), random(3, 2, 3, 2), random(3)

    def convolve(inputs: Tensor) -> Tensor:
        return torch.conv2d(inputs, weight, bias, **settings)

    relevance = torch.randn_like(convolve(values))
    (found,) = relevances(conserving(linear=kind), convolve, relevance, values)
    windows = F.unfold(values, (3, 2), **settings)
    expected = torch.zeros_like(values)
    for image in range(2):
        rows = linear_by_loops(
            relevance[image].flatten(1).T, windows[image].T, weight.flatten(1), kind
        )
        expected[image] = F.fold(rows.T[None], (6, 7), (3, 2), **settings)[0]
    assert_close(found, expected, CLOSE)


def test_groups_of_a_convolution_do_not_mix() -> None:
    values, weight = random(1, 4, 3, 3), random(6, 2, 2, 2)
    relevance = random(1, 6, 2, 2)
    rules = conserving()
    (found,) = relevances(rules, lambda z: torch.conv2d(z, weight, groups=2), relevance, values)
    for group in range(2):
        (alone,) = relevances(
            rules,
            lambda z, group=group: torch.conv2d(z, weight[3 * group : 3 * group + 3]),
            relevance[:, 3 * group : 3 * group + 3],
            values[:, 2 * group : 2 * group + 2],
        )
        assert_close(found[:, 2 * group : 2 * group + 2], alone, CLOSE)


def test_the_pixel_rule() -> None:
    values, weight = random(2, 3), random(4, 3)
    lowest, highest = torch.tensor(-3.0).double(), torch.tensor(5.0).double()
    relevance = random(2, 4)
    found = ZBox(lowest, highest).share(relevance, Weighted(values, weight, None, F.linear))
    expected = torch.zeros_like(values)
    for row in range(2):
        for j in range(4):
            shares = [
                float(values[row, i] * weight[j, i])
                + 3 * max(float(weight[j, i]), 0)
                - 5 * min(float(weight[j, i]), 0)
                for i in range(3)
            ]
            for i, share in enumerate(shares):
                expected[row, i] += float(relevance[row, j]) * share / sum(shares)
    assert_close(found, expected, CLOSE)
    assert_close(found.sum(dim=1), relevance.sum(dim=1), CLOSE)


def test_only_the_layer_that_sees_the_image_follows_the_pixel_rule() -> None:
    values, weight, above = random(2, 3), random(4, 3), random(2, 4)
    rules = conserving(limits=(lowest_of_image, highest_of_image))

    def network(values: Tensor) -> Tensor:
        return F.linear(F.linear(values.flatten(1), weight), above)

    (found,) = relevances(rules, network, None, values)
    ones = torch.ones(2, 2, dtype=torch.float64)
    between = linear_by_loops(ones, F.linear(values, weight), above, "joint")
    box = ZBox(lowest_of_image, highest_of_image)
    expected = box.share(between, Weighted(values, weight, None, F.linear))
    assert_close(found, expected, CLOSE)


def test_the_limits_of_every_image() -> None:
    images = torch.tensor([[[-1.0, 2.0], [0.0, 1.0]], [[5.0, 5.0], [4.0, 6.0]]])
    lowest, highest = lowest_of_image(images), highest_of_image(images)
    assert lowest.flatten().tolist() == [-1, 4]
    assert highest.flatten().tolist() == [2, 6]
    assert lowest.shape == (2, 1, 1)


@pytest.mark.parametrize("operation", ["batch norm", "scale"])
def test_a_negative_factor_turns_the_weights_before_it(operation: str) -> None:
    """Batch norm and layer scale belong to the weights that they multiply."""
    values, weight, factor = random(2, 3), random(2, 3), torch.tensor([0.5, -2.0]).double()
    mean, variance = random(2), random(2).abs()

    def network(values: Tensor) -> Tensor:
        out = F.linear(values, weight)
        if operation == "scale":
            return out * factor
        return F.batch_norm(out, mean, variance, factor, mean)

    relevance = random(2, 2)
    (found,) = relevances(conserving(), network, relevance, values)
    signed = weight * torch.tensor([[1.0], [-1.0]])
    assert_close(found, linear_by_loops(relevance, values, signed, "joint"), CLOSE)


@pytest.mark.parametrize(
    "norm",
    [
        lambda z, mean, variance, scale: F.batch_norm(z, mean, variance, scale),
        lambda z, mean, variance, scale: F.batch_norm(z, mean, variance, weight=scale),
        lambda z, mean, variance, scale: torch.batch_norm(
            z, scale, None, mean, variance, False, 0.1, 1e-5, False
        ),
    ],
    ids=["by place", "by name", "torch's own order"],
)
def test_a_batch_norm_s_scale_is_found(norm: Callable[..., Tensor]) -> None:
    values, weight = random(1, 2, 3, 3), random(2, 2, 1, 1)
    scale, mean = torch.tensor([-1.0, 1.0]).double(), torch.tensor([0.5, -0.5]).double()

    def network(values: Tensor) -> Tensor:
        return norm(torch.conv2d(values, weight), mean, torch.ones(2).double(), scale)

    relevance = random(1, 2, 3, 3)
    (found,) = relevances(conserving(), network, relevance, values)
    (expected,) = relevances(
        conserving(),
        lambda z: torch.conv2d(z, weight * scale[:, None, None, None]),
        relevance,
        values,
    )
    assert_close(found, expected, CLOSE)


# Sums, products and averages


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


# What passes relevance on


PASSED_ON: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "relu": F.relu,
    "relu, overwriting": lambda values: F.relu(values, inplace=True),
    "relu_": lambda values: torch.relu_(values * 1),
    "hardtanh": lambda values: F.hardtanh(values, -0.5, 0.5),
    "sigmoid": torch.sigmoid,
    "softmax": lambda values: values.softmax(dim=-1),
    "layer norm": lambda values: F.layer_norm(values, (4,), torch.arange(4.0).double() - 2),
    "group norm": lambda values: F.group_norm(values, 2),
    "rms norm": lambda values: F.rms_norm(values, (4,)),
    "normalize": lambda values: F.normalize(values, dim=1),
    "times a number": lambda values: -3 * values,
    "times a constant": lambda values: values * torch.arange(4.0).double(),
    "over a number": lambda values: values / 4,
    "plus a number": lambda values: 1 + values + 2,
    "minus a number": lambda values: values - 5,
    "a number minus": lambda values: 5 - values,
}


@pytest.mark.parametrize("operation", PASSED_ON)
def test_passed_on_unchanged(operation: str) -> None:
    relevance = random(3, 4)
    inputs = random(3, 4)
    (found,) = relevances(
        conserving(), lambda z: PASSED_ON[operation](z * 1), relevance, inputs, images=3
    )
    assert torch.equal(found, relevance)


def test_a_factor_that_repeats_its_tensor_gathers_relevance() -> None:
    values, factor, relevance = random(3, 1), random(2, 3, 4), random(2, 3, 4)
    (found,) = relevances(conserving(), lambda z: z * factor, relevance, values)
    assert_close(found, relevance.sum(dim=(0, 2))[:, None], CLOSE)


def test_a_difference_is_a_sum_with_the_negative() -> None:
    left, right, relevance = random(2, 3), random(2, 3), random(2, 3)
    rules = conserving()
    expected = relevances(rules, torch.add, relevance, left, -right, images=2)
    for subtract in (torch.sub, torch.Tensor.__sub__):
        for one, other in zip(
            relevances(rules, subtract, relevance, left, right, images=2), expected, strict=True
        ):
            assert_close(one, other, CLOSE)
    constant = random(2, 3)
    (found,) = relevances(rules, lambda z: constant - z, relevance, right, images=2)
    assert_close(
        found, relevances(rules, torch.add, relevance, constant, -right, images=2)[1], CLOSE
    )


def test_the_second_summand_is_scaled_in_the_output() -> None:
    left, right = random(2, 3).requires_grad_(), random(2, 3)
    for rules in (conserving(), gradients()):
        with propagating(rules, "relevance", "this network", images=2):
            added = torch.add(left, other=right, alpha=3)
            subtracted = left.sub(right, alpha=3)
        assert_close(added, left + 3 * right, 1e-9)
        assert_close(subtracted, left - 3 * right, 1e-9)


SCALED_SUMS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], float]] = {
    "add": (lambda u, v: torch.add(u, other=v, alpha=3), 3),
    "subtract": (lambda u, v: torch.sub(u, v, alpha=3), -3),
    "negative": (lambda u, v: u.add(v, alpha=-0.5), -0.5),
    "overwriting": (lambda u, v: (1 * u).sub_(v, alpha=0.5), -0.5),
}


@pytest.mark.parametrize("operation", SCALED_SUMS)
def test_the_second_summand_can_be_scaled(operation: str) -> None:
    """The relevance of 3v is that of v."""
    run, factor = SCALED_SUMS[operation]
    left, right, relevance = random(1, 3), random(1, 3), random(1, 3)
    expected = relevances(conserving(), torch.add, relevance, left, factor * right)
    found = relevances(conserving(), run, relevance, left, right)
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other, CLOSE)
    (alone,) = relevances(conserving(), lambda v: run(left, v), relevance, right)
    assert_close(alone, expected[1], CLOSE)
    (alone,) = relevances(conserving(), lambda u: run(u, right), relevance, left)
    assert_close(alone, expected[0], CLOSE)


@pytest.mark.parametrize("operation", SCALED_SUMS)
def test_the_gradient_of_a_scaled_summand_has_its_factor(operation: str) -> None:
    run, factor = SCALED_SUMS[operation]
    left, right, relevance = random(1, 3), random(1, 3), random(1, 3)
    of_left, of_right = relevances(gradients(), run, relevance, left, right)
    assert_close(of_left, relevance, 1e-9)
    assert_close(of_right, factor * relevance, 1e-9)


@pytest.mark.filterwarnings("ignore:This overload of:UserWarning")
def test_a_factor_between_the_summands_scales_the_second() -> None:
    left, right, relevance = random(1, 3), random(1, 3), random(1, 3)
    found = relevances(conserving(), lambda u, v: u.add(3, v), relevance, left, right)
    expected = relevances(conserving(), torch.add, relevance, left, 3 * right)
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other, CLOSE)


def test_a_tensor_that_is_used_twice_gets_both_relevances() -> None:
    """x + 2x as sums of one tensor: a third and two thirds come together again."""
    values, relevance = random(1, 4), random(1, 4)
    rules = conserving(sums="plain")
    (found,) = relevances(rules, lambda z: z + 2 * z, relevance, values)
    assert_close(found, relevance, CLOSE)


def test_attention_is_two_products_and_a_softmax() -> None:
    """Fused attention under the rules: values get half, queries and keys a quarter each."""
    query, key, value = random(2, 3, 4), random(2, 3, 4), random(2, 3, 4)
    relevance = random(2, 3, 4)
    rules = conserving(products="halved")
    leaves = [tensor.clone().requires_grad_() for tensor in (query, key, value)]
    with propagating(rules, "relevance", "this network"):
        mixed = F.scaled_dot_product_attention(leaves[0], leaves[1], leaves[2])
    assert_close(mixed, attention_in_parts(query, key, value), 1e-9)
    found = torch.autograd.grad(mixed, leaves, relevance)
    for head in range(2):
        scores = query[head] @ key[head].T / 2
        attention = scores.softmax(dim=-1)
        of_attention, of_value = product_by_loops(relevance[head], attention, value[head])
        of_query, of_key = product_by_loops(of_attention / 2, query[head] / 2, key[head].T)
        for one, other in zip(found, (of_query, of_key.T, of_value), strict=True):
            assert_close(one[head], other / 2, 1e-5)


# Arguments by name

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


def test_the_names_of_options_become_rules() -> None:
    rules = attribution_rules(
        "full_lrp",
        linear="separate",
        additions="plain",
        matrix_products="halved",
        stabiliser="published",
    )
    assert rules.in_words() == conserving("separate", "plain", "halved", "published").in_words()
    with pytest.raises(ExplainerError, match="stabiliser='none' for full_lrp"):
        attribution_rules("full_lrp", stabiliser="none")  # type: ignore[arg-type]


# Gradients of AttnLRP


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
