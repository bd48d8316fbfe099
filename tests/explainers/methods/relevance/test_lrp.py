"""LRP with a table of one's own: identities, other methods as tables, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import threading

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import assert_close
from tests.explainers.relevance.tables import almost_without_stabilisers
from tests.explainers.relevance.test_propagation import Exponential, with_layer
from tests.tiny_networks import TINY
from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError, UnknownNameError
from ttame.explainers.known_explainers import make_explainer
from ttame.explainers.methods.gradient.input_x_gradient import InputXGradient
from ttame.explainers.methods.relevance.attn_lrp import AttnLrp, attn_lrp_rules
from ttame.explainers.methods.relevance.full_lrp import FullLrp
from ttame.explainers.methods.relevance.lrp import Lrp
from ttame.explainers.relevance.matches import LayerName, LayerType, Operation
from ttame.explainers.relevance.operation_rules import Constant, Pass
from ttame.explainers.relevance.rule_presets import RULE_PRESETS, rule_table
from ttame.explainers.relevance.rule_table import RuleTable
from ttame.explainers.relevance.stabilisers import divide_sign_aware
from ttame.explainers.relevance.weighted_map import Weighted
from ttame.explainers.relevance.weighted_rules import Flat, WeightedRule, WSquare
from ttame.images.preprocessing import Preprocessing


@pytest.mark.parametrize("network", ["cnn", "timm resnet"])
def test_the_epsilon_rule_is_input_times_gradient_where_activations_are_relu(network: str) -> None:
    classifier = TINY[network]()
    classifier.network.double()
    images = torch.randn(2, 3, *classifier.preprocessing.input_size).double()
    expected = InputXGradient(classifier)(images, "all").maps
    rules = almost_without_stabilisers(classifier)
    assert_close(Lrp(classifier, rules=rules)(images, "all").maps, expected, 1e-6)


@pytest.mark.parametrize("rules", ["epsilon", "epsilon_plus", "epsilon_plus_flat",
                                   "epsilon_gamma_box"])  # fmt: skip
def test_without_biases_the_pixels_sum_to_the_logit(rules: str) -> None:
    classifier = TINY["cnn"]()
    network = classifier.network.double()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
    images = torch.randn(2, 3, 32, 32).double()
    found = Lrp(classifier, rules=rules)(images, "all")
    assert_close(found.maps.sum(dim=(2, 3)), found.logits, 1e-3)
    shares = Lrp(classifier, rules=rules, start="one")(images, "all")
    assert_close(shares.maps.sum(dim=(2, 3)), torch.ones(2, 7), 1e-3)


def test_tables_of_other_methods_give_their_maps() -> None:
    classifier = TINY["timm vit"]()
    images = torch.randn(2, 3, *classifier.preprocessing.input_size)
    attn_lrp = AttnLrp(classifier, gamma_linear=0.05)
    own = Lrp(classifier, rules=attn_lrp_rules(gamma_linear=0.05))
    assert torch.equal(own(images, "top2").maps, attn_lrp(images, "top2").maps)
    full_lrp = FullLrp(classifier)
    own = Lrp(classifier, rules=full_lrp.table, start="one")
    assert torch.equal(own(images, "top2").maps, full_lrp(images, "top2").maps)


@dataclasses.dataclass(frozen=True)
class ByWeight(WeightedRule):
    """By the size of weights."""

    def share(self, relevance: Tensor, layer: Weighted) -> Tensor:
        return layer.shared(
            relevance, divide_sign_aware, (torch.ones_like(layer.values), layer.weight.abs())
        )


def test_a_rule_for_one_layer_changes_that_layer() -> None:
    """The first convolution by its weights' sizes, whose pattern of one pixel is known."""
    classifier = TINY["cnn"]()
    images = torch.randn(1, 3, 32, 32)
    preset = rule_table("epsilon_plus", classifier)
    maps = {
        match.in_words(): Lrp(classifier, rules=preset.with_first((match, ByWeight())))(images).maps
        for match in (
            LayerName("0"),
            LayerName("?") & Operation("convolution") & LayerName("0"),
            LayerName("3"),
        )
    }
    first, same, third = maps.values()
    assert torch.equal(first, same)
    assert not torch.allclose(first, third)
    total = Lrp(classifier, rules=preset)(images).maps.sum()
    assert_close(first.sum(), total, 1e-4)


def test_layers_are_told_apart_in_every_thread() -> None:
    classifier = TINY["timm resnet"]()
    rules = rule_table("epsilon_plus", classifier).with_first(
        (LayerName("conv1.0"), Flat()), (LayerType(nn.Conv2d) & LayerName("layer1.*"), WSquare())
    )
    explainer = Lrp(classifier, rules=rules)
    batches = [torch.randn(1, 3, 64, 64) for _ in range(3)]
    expected = [explainer(batch).maps for batch in batches]
    found: dict[int, Tensor] = {}

    def work(index: int) -> None:
        found[index] = explainer(batches[index]).maps

    threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, maps in enumerate(expected):
        assert torch.equal(found[index], maps)
    for module in classifier.network.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_the_last_layer_of_one_logit_goes_by_its_name() -> None:
    """The scores -z/2 and z/2 are made of it, and belong to it like the logit."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1),
    )  # fmt: skip
    classifier = Classifier(network, preprocessing=Preprocessing.imagenet(8), outputs="binary")
    preset = rule_table("epsilon_plus", classifier)
    images = torch.randn(1, 3, 8, 8)
    by_name, by_operation, otherwise = (
        Lrp(classifier, rules=rules)(images, "all").maps
        for rules in (
            preset.with_first((LayerName("6"), Flat())),
            preset.with_first((Operation("linear"), Flat())),
            preset,
        )
    )
    assert torch.equal(by_name, by_operation)
    assert not torch.allclose(by_name, otherwise)


def test_what_the_error_says_to_add_helps() -> None:
    classifier = with_layer(Exponential())
    images = torch.randn(1, 3, 8, 8)
    with pytest.raises(ExplainerError) as caught:
        Lrp(classifier)
    assert str(caught.value) == (
        "lrp is not defined for Sequential: it has no relevance rule for the operation exp in "
        "layer '1' (Exponential); try: a first row (Operation('exp'), RULE) in the table of rules"
    )
    preset = rule_table("epsilon_plus", classifier)
    explainer = Lrp(classifier, rules=preset.with_first((Operation("exp"), Pass())))
    assert torch.isfinite(explainer(images).maps).all()


def test_a_table_that_lets_nothing_through_is_refused() -> None:
    classifier = TINY["cnn"]()
    rules = rule_table("epsilon", classifier).with_first((Operation("average"), Constant()))
    with pytest.raises(ExplainerError, match="no relevance reaches the image"):
        Lrp(classifier, rules=rules)


def test_options_that_are_refused() -> None:
    classifier = TINY["cnn"]()
    with pytest.raises(UnknownNameError, match="'epsilon_box'"):
        make_explainer("lrp", classifier, rules="epsilon_box")
    with pytest.raises(ExplainerError, match=r"rules=3 for lrp; allowed: epsilon, .*a RuleTable"):
        make_explainer("lrp", classifier, rules=3)
    with pytest.raises(ExplainerError, match="start='two' for lrp"):
        make_explainer("lrp", classifier, start="two")
    with pytest.raises(ExplainerError, match="start='one' for lrp with rules that carry gradients"):
        Lrp(classifier, rules=attn_lrp_rules(), start="one")


@pytest.mark.parametrize("rules", RULE_PRESETS)
def test_provenance_holds_the_table(rules: str) -> None:
    classifier = TINY["cnn"]()
    assert Lrp(classifier, rules=rules).provenance()["rules"] == rules
    table = rule_table(rules, classifier)
    own = Lrp(classifier, rules=RuleTable(*table)).provenance()
    assert json.loads(json.dumps(own)) == own
    assert own["rules"].splitlines()[-1].startswith("Operation('matrix product', 'multiply'): Prod")
