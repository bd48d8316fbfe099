"""Presets against a small CNN as matrices, with a loop's sums, and against AttnLRP's gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import assert_close
from tests.explainers.methods.relevance.test_full_lrp import black_and_white
from tests.explainers.relevance.slow_cnn_relevance import (
    as_matrix,
    inputs_of,
    small_golden_cnn,
    small_images,
    to_winners,
)
from tests.explainers.relevance.tables import almost_without_stabilisers
from tests.tiny_networks import TINY
from ttame.errors import UnknownNameError
from ttame.explainers.methods.relevance.attn_lrp import AttnLrp
from ttame.explainers.methods.relevance.lrp import Lrp
from ttame.explainers.relevance.rule_presets import RULE_PRESETS, rule_table


def divided(relevance: Tensor, total: Tensor) -> Tensor:
    return torch.where(total == 0, 0, relevance / total)


def through_matrix(
    rule: str, given: Tensor, values: Tensor, matrix: Tensor, bias: Tensor
) -> Tensor:
    """(n,) relevance of inputs from (m,) of outputs by an (m, n) matrix."""
    products = matrix * values
    if rule == "epsilon":
        return divided(given, products.sum(dim=1) + bias) @ products
    if rule == "plus":
        return divided(given, products.clamp(min=0).sum(dim=1)) @ products.clamp(min=0)
    if rule == "flat":
        ones = torch.ones_like(matrix) * (matrix != 0)
        return divided(given, ones.sum(dim=1)) @ ones
    if rule == "alpha2_beta1":
        raising, lowering = products.clamp(min=0), products.clamp(max=0)
        raised = divided(given, raising.sum(dim=1) + bias.clamp(min=0)) @ raising
        lowered = divided(given, lowering.sum(dim=1) + bias.clamp(max=0)) @ lowering
        return 2 * raised - lowered
    assert rule == "gamma"
    sign = (products.sum(dim=1) + bias).sign()
    larger = products * (1 + 0.25 * (products.sign() == sign[:, None]))
    constant = bias * (1 + 0.25 * (bias.sign() == sign))
    return divided(given, larger.sum(dim=1) + constant) @ larger


def box(given: Tensor, image: Tensor, matrix: Tensor) -> Tensor:
    low, high = (limit.flatten() for limit in black_and_white(image))
    parts = matrix * image.flatten() - matrix.clamp(min=0) * low - matrix.clamp(max=0) * high
    return divided(given, parts.sum(dim=1)) @ parts


def slow_map(network: nn.Module, image: Tensor, label: int, rule: str, first: str) -> Tensor:
    """The golden CNN layer by layer, its batch norms folded into the convolutions by hand."""
    seen, weights = inputs_of(network, image), network.state_dict()

    def convolved(relevance: Tensor, number: str, rule: str) -> Tensor:
        values = seen[f"conv{number}"]
        weight = weights[f"conv{number}.weight"]
        bias = weights.get(f"conv{number}.bias", torch.zeros(len(weight)).double())
        if number in "12":
            norm = {
                name: weights[f"bn{number}.{name}"]
                for name in ("weight", "bias", "running_mean", "running_var")
            }
            factor = norm["weight"] / (norm["running_var"] + 1e-5).sqrt()
            bias = (bias - norm["running_mean"]) * factor + norm["bias"]
            weight = weight * factor[:, None, None, None]
        matrix = as_matrix(weight, *values.shape[1:])
        if rule == "box":
            return box(relevance.flatten(), values, matrix).reshape(values.shape)
        places = values.shape[1] * values.shape[2]
        result = through_matrix(
            rule, relevance.flatten(), values.flatten(), matrix, bias.repeat_interleave(places)
        )
        return result.reshape(values.shape)

    logit = float((weights["fc.weight"] @ seen["fc"] + weights["fc.bias"])[label])
    contributions = weights["fc.weight"][label] * seen["fc"]
    relevance = contributions * logit / (contributions.sum() + weights["fc.bias"][label])
    planes = seen["pool"]
    relevance = divided(relevance, planes.sum(dim=(1, 2)))[:, None, None] * planes
    relevance = to_winners(convolved(relevance, "3", rule), seen["pool2"])
    relevance = to_winners(convolved(relevance, "2", rule), seen["pool1"])
    return convolved(relevance, "1", first).sum(dim=0)


@pytest.mark.parametrize(
    ("preset", "rule", "first"),
    [
        ("epsilon", "epsilon", "epsilon"),
        ("epsilon_plus", "plus", "plus"),
        ("epsilon_plus_flat", "plus", "flat"),
        ("epsilon_alpha2_beta1", "alpha2_beta1", "alpha2_beta1"),
        ("epsilon_alpha2_beta1_flat", "alpha2_beta1", "flat"),
        ("epsilon_gamma_box", "gamma", "box"),
    ],
)
def test_replica_of_a_cnn(preset: str, rule: str, first: str) -> None:
    classifier, images = small_golden_cnn(), small_images()
    found = Lrp(classifier, rules=preset)(images, [[7, 2], [0, 9]])
    for index, image in enumerate(images):
        for place, label in enumerate(found.classes[index].tolist()):
            expected = slow_map(classifier.network, image, label, rule, first)
            assert_close(found.maps[index, place].double(), expected, 1e-3)


@pytest.mark.parametrize("network", ["timm vit", "torchvision vit", "timm swin"])
def test_without_its_stabiliser_epsilon_is_attn_lrp_with_constant_attention(network: str) -> None:
    """What one writes as relevance, the other writes as gradients."""
    classifier = TINY[network]()
    classifier.network.double()
    images = torch.randn(2, 3, *classifier.preprocessing.input_size).double()
    rules = almost_without_stabilisers(classifier)
    expected = AttnLrp(classifier, attention_is_constant=True)(images, "top2").maps
    assert_close(Lrp(classifier, rules=rules)(images, "top2").maps, expected, 1e-5)


def test_names_have_near_matches() -> None:
    classifier = TINY["cnn"]()
    with pytest.raises(UnknownNameError, match="relevance rules 'epsilon_pls'; try: epsilon_plus"):
        rule_table("epsilon_pls", classifier)
    assert all(rule_table(name, classifier).carries == "relevance" for name in RULE_PRESETS)
