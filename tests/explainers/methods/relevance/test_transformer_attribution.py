"""Transformer Attribution against the published code's tensors and a slow replica."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conftest import Golden, assert_close
from tests.explainers.relevance.slow_vit_relevance import SlowRules, slow_relevance
from tests.explainers.relevance.tables import conserving
from tests.plain_vit import BLOCKS, golden_vit, plain_vit, two_images
from tests.tiny_networks import TINY, tiny_timm
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.explained_targets import ExplainedClasses
from ttame.errors import ExplainerError
from ttame.explainers.methods.relevance.transformer_attribution import TransformerAttribution
from ttame.explainers.passes.block_attention import (
    gradients_by_target,
    read_block_attention,
)
from ttame.explainers.relevance.attention_relevance import attention_relevance
from ttame.explainers.relevance.propagation import propagating
from ttame.explainers.relevance.rule_table import RuleTable

PUBLISHED: dict[str, Any] = {"matrix_products": "halved", "stabiliser": "published"}
PUBLISHED_RULES = conserving(products="halved", stabiliser="published")


def published_vit(dtype: torch.dtype = torch.float64) -> Classifier:
    """The published network for relevance has another ε in its last norm than its plain one."""
    classifier = golden_vit(dtype)
    classifier.network.norm.eps = 1e-5  # type: ignore[union-attr]
    return classifier


@pytest.fixture
def chefer() -> Golden:
    return Golden("chefer_vit")


@pytest.mark.parametrize(("start", "suffix"), [(0, ""), (1, "_start1")])
@pytest.mark.parametrize(
    ("dtype", "prefix", "tolerance"),
    [(torch.float64, "output.f64.", 1e-7), (torch.float32, "output.", 5e-4)],
)
def test_golden_maps(
    chefer: Golden, dtype: torch.dtype, prefix: str, tolerance: float, start: int, suffix: str
) -> None:
    explainer = TransformerAttribution(published_vit(dtype), start_block=start, **PUBLISHED)
    classes = torch.tensor([chefer.number("class_indices")])
    explanation = explainer(chefer["input.image"].to(dtype), classes)
    assert_close(explanation.logits, chefer[f"{prefix}logits"], 1e-5)
    for index in range(2):
        expected = chefer[f"{prefix}class{index}.transformer_attribution{suffix}"]
        assert_close(explanation.maps[0, index], expected.reshape(4, 4), tolerance)


def relevance_of_golden_blocks(chefer: Golden) -> list[list[Tensor]]:
    """By class and block, (1, heads, T, T)."""
    classifier, image = published_vit(), chefer["input.image"].double()
    explainer = TransformerAttribution(classifier)
    targets = ExplainedClasses(torch.tensor([chefer.number("class_indices")]))
    propagated = attention_relevance(
        classifier, explainer.layout, PUBLISHED_RULES, image, lambda _scores: targets, 0
    )
    return list(propagated.by_target)


def test_golden_relevance_of_every_attention(chefer: Golden) -> None:
    for index, relevances in enumerate(relevance_of_golden_blocks(chefer)):
        for block, relevance in enumerate(relevances):
            expected = chefer[f"output.f64.class{index}.block{block}.attn_relevance"]
            assert_close(relevance.float(), expected, 1e-7)


def test_golden_rollout_of_relevance_alone(chefer: Golden) -> None:
    """The baselines without gradients: all blocks rolled out, and single blocks."""
    for index, relevances in enumerate(relevance_of_golden_blocks(chefer)):
        means = [relevance.clamp(min=0).mean(dim=1)[0] for relevance in relevances]
        rolled = torch.eye(17, dtype=torch.float64)
        for mean in means:
            rolled = rolled + mean @ rolled
        expected = chefer.under(f"output.f64.class{index}.")
        assert_close(rolled[0, 1:].float(), expected["rollout"][0], 1e-7)
        assert_close(means[-1][0, 1:].float(), expected["last_layer"], 1e-7)
        assert_close(means[1][0, 1:].float(), expected["second_layer"], 1e-7)


def test_golden_products_of_gradient_and_relevance(chefer: Golden) -> None:
    classifier, image = published_vit(), chefer["input.image"].double()
    layout = TransformerAttribution(classifier).layout
    read = read_block_attention(classifier, layout, image)
    classes = torch.tensor([chefer.number("class_indices")])
    gradients = list(gradients_by_target(read.logits.gather(1, classes), read.probabilities))
    for index, relevances in enumerate(relevance_of_golden_blocks(chefer)):
        expected = chefer.under(f"output.f64.class{index}.")
        for block, gradient in enumerate(gradients[index]):
            assert_close(gradient.float(), expected[f"block{block}.attn_gradient"], 1e-7)
        for name, block in [("last_layer", BLOCKS - 1), ("second_layer", 1)]:
            product = (gradients[index][block] * relevances[block]).clamp(min=0).mean(dim=1)
            assert_close(product[0, 0, 1:].float(), expected[f"{name}_ablation"], 1e-7)


def test_golden_relevance_between_the_layers(chefer: Golden) -> None:
    """At the inputs of the head, of the last norm and of every block; its sum stays 1."""
    network = published_vit().network
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    names = ["head", "norm", *[f"blocks.{index}" for index in range(BLOCKS)]]
    reached: dict[str, Tensor] = {}
    for name in names:
        network.get_submodule(name).register_forward_pre_hook(
            lambda _module, args, name=name: reached.update({name: args[0]})
        )
    image = chefer["input.image"].double().requires_grad_()
    with propagating(PUBLISHED_RULES, "relevance", "ViT"):
        logits = network(image)
    for index, label in enumerate(chefer.number("class_indices")):
        score = logits[0, label]
        found = torch.autograd.grad(score, [reached[name] for name in names], retain_graph=True)
        for name, relevance in zip(names, found, strict=True):
            expected = chefer[f"output.f64.class{index}.relevance.{name.replace('s.', '')}"]
            assert_close(relevance.float(), expected, 1e-6)
            assert float(relevance.sum()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "start"),
    [
        ({}, 0),
        ({}, 1),
        ({}, 2),
        (PUBLISHED, 0),
        ({"matrix_products": "halved"}, 0),
        ({"stabiliser": "published"}, 0),
    ],
)
def test_replica(options: dict[str, Any], start: int) -> None:
    """Two images a call: the sums of the rules run over each of them alone."""
    images = two_images().double()
    explainer = TransformerAttribution(golden_vit(torch.float64), start_block=start, **options)
    found = explainer(images, [[7, 2], [0, 9]])
    for index, image in enumerate(images):
        for place, label in enumerate(found.classes[index].tolist()):
            expected = slow_attribution(image, label, start, SlowRules(**options))
            assert_close(found.maps[index, place].double(), expected, 1e-6)


def slow_attribution(image: Tensor, label: int, start: int, rules: SlowRules) -> Tensor:
    read: list[Tensor] = []

    def keep(_block: int, attention: Tensor) -> Tensor:
        read.append(attention.requires_grad_())
        return attention

    score = plain_vit()(image, keep)[label]
    gradients = torch.autograd.grad(score, read)
    relevance = slow_relevance(image, label, rules).attention
    rolled = torch.eye(17, dtype=torch.float64)
    for block in range(start, BLOCKS):
        mean = torch.zeros(17, 17, dtype=torch.float64)
        for of_head, gradient in zip(relevance[block], gradients[block], strict=True):
            mean += (of_head * gradient).clamp(min=0) / len(relevance[block])
        rolled = (torch.eye(17, dtype=torch.float64) + mean) @ rolled
    return rolled[0, 1:].reshape(4, 4)


@pytest.mark.parametrize(
    "network",
    ["timm vit, distilled", "timm vit, registers", "timm vit, patches pooled", "torchvision vit"],
)
def test_the_rows_that_the_head_reads_are_rolled_out(network: str) -> None:
    """Other networks: relevance and gradients as they are, matrices multiplied in full."""
    classifier = TINY[network]()
    classifier.network.double()
    images = torch.randn(2, 3, *classifier.preprocessing.input_size).double()
    explainer = TransformerAttribution(classifier, start_block=1)
    layout = explainer.layout
    read = read_block_attention(classifier, layout, images, 1)
    (gradients,) = gradients_by_target(read.logits[:, [2]], read.probabilities)
    targets = ExplainedClasses(torch.tensor([[2], [2]]))
    propagated = attention_relevance(
        classifier, layout, explainer.table, images, lambda _scores: targets, 1
    )
    (relevances,) = propagated.by_target
    identity = torch.eye(layout.number_of_tokens, dtype=torch.float64)
    rolled = identity.expand(2, -1, -1)
    for gradient, relevance in zip(gradients, relevances, strict=True):
        product = gradient.reshape(relevance.shape) * relevance
        rolled = (identity + product.clamp(min=0).mean(dim=1)) @ rolled
    rows = list(layout.read_rows)
    expected = layout.patch_map((rolled - identity)[:, rows].mean(dim=1))
    assert_close(explainer(images, 2).maps[:, 0].double(), expected, 1e-6)


@pytest.mark.parametrize("rules", [conserving(), PUBLISHED_RULES])
def test_every_image_of_a_batch_keeps_its_relevance(rules: RuleTable) -> None:
    """What arrives at a block, skip and branch together, sums to the 1 that it began with."""
    network = golden_vit(torch.float64).network
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    reached: list[Tensor] = []
    for block in network.blocks:  # type: ignore[union-attr]
        block.register_forward_pre_hook(lambda _module, args: reached.append(args[0]))
    images = two_images().double().requires_grad_()
    with propagating(rules, "relevance", "ViT", images=2):
        logits = network(images)
    for relevance in torch.autograd.grad(logits[0, 3] + logits[1, 8], reached):
        assert_close(relevance.sum(dim=(1, 2)), torch.ones(2).double(), 1e-6)


def test_the_first_block_is_skipped_where_there_is_another() -> None:
    assert TransformerAttribution(golden_vit()).first_block == 1
    assert TransformerAttribution(golden_vit(), start_block=-1).first_block == 2
    only_one = tiny_timm("vit_tiny_patch16_224", 32, embed_dim=24, depth=1, num_heads=3)
    assert TransformerAttribution(only_one).first_block == 0


def test_options_and_networks_that_are_refused() -> None:
    with pytest.raises(ExplainerError, match=r"start_block=3 for transformer_attribution"):
        TransformerAttribution(golden_vit(), start_block=3)
    with pytest.raises(ExplainerError, match="matrix_products='plain'"):
        TransformerAttribution(golden_vit(), matrix_products="plain")  # type: ignore[arg-type]
    with pytest.raises(ExplainerError, match="stabiliser='none'"):
        TransformerAttribution(golden_vit(), stabiliser="none")  # type: ignore[arg-type]
    with pytest.raises(ExplainerError, match="not defined for Sequential"):
        TransformerAttribution(TINY["cnn"]())
