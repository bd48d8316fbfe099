"""The rules that every table of conserving relevance has, by loops over numbers and by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.conftest import assert_close
from tests.explainers.relevance.by_loops import CLOSE, linear_by_loops, random, relevances
from tests.explainers.relevance.tables import conserving, gradients
from ttame.errors import ExplainerError
from ttame.explainers.methods.relevance.transformer_attribution import attribution_rules
from ttame.explainers.relevance.pixel_relevance import highest_of_image, lowest_of_image
from ttame.explainers.relevance.propagation import propagating
from ttame.explainers.relevance.weighted_map import Weighted
from ttame.explainers.relevance.weighted_rules import Absolute, ZBox, ZPlus
from ttame.networks.function_replacement import attention_in_parts


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
