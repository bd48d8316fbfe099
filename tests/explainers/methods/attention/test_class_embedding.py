from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.conftest import assert_close
from tests.plain_vit import golden_vit, plain_vit, two_images
from tests.tiny_networks import TINY
from ttame.errors import ExplainerError
from ttame.explainers.methods.attention.class_embedding import ClassEmbedding


@pytest.mark.parametrize("block", [-1, 0, 1])
@pytest.mark.parametrize("score", ["logit", "probability"])
def test_replica(block: int, score: str) -> None:
    images, plain = two_images().double(), plain_vit()
    explainer = ClassEmbedding(golden_vit(torch.float64), block=block, score=score)  # type: ignore[arg-type]
    found = explainer(images, "all")
    for index, image in enumerate(images):
        tokens = plain.embed(image)
        for number in range(3 if block == -1 else block + 1):
            tokens = plain.block(number, tokens)
        for patch in range(16):
            expected = plain.classify(tokens[1 + patch])
            expected = expected.softmax(dim=0) if score == "probability" else expected
            actual = found.maps[index, :, patch // 4, patch % 4].double()
            assert_close(actual, expected, 1e-6)
        assert_close(found.logits[index].double(), plain(image), 1e-6)


def tokens_after_last_block(network: str, images: Tensor) -> tuple[Tensor, ClassEmbedding]:
    classifier = TINY[network]()
    explainer = ClassEmbedding(classifier)
    block = classifier.network.get_submodule(explainer.layout.blocks[-1])
    kept: list[Tensor] = []
    handle = block.register_forward_hook(lambda _, __, output: kept.append(output))
    classifier.logits(images)
    handle.remove()
    return kept[0], explainer


def test_pooled_patches_go_through_the_networks_own_pooling() -> None:
    images = torch.randn(2, 3, 64, 64)
    tokens, explainer = tokens_after_last_block("timm vit, patches pooled", images)
    network = explainer.classifier.network
    expected = network.head(network.fc_norm(network.norm(tokens)))  # type: ignore[operator]
    found = explainer(images, "all").maps
    assert_close(found.flatten(2).transpose(1, 2), expected.detach(), 1e-5)


def test_a_distilled_network_reads_the_token_with_both_heads() -> None:
    images = torch.randn(2, 3, 64, 64)
    tokens, explainer = tokens_after_last_block("timm vit, distilled", images)
    network = explainer.classifier.network
    normed = network.norm(tokens[:, 2:])  # type: ignore[operator]
    expected = (network.head(normed) + network.head_dist(normed)) / 2  # type: ignore[operator]
    found = explainer(images, "all").maps
    assert_close(found.flatten(2).transpose(1, 2), expected.detach(), 1e-5)


@pytest.mark.parametrize("network", ["timm vit", "timm vit, patches pooled"])
def test_the_memory_budget_changes_nothing(network: str) -> None:
    classifier = TINY[network]()
    images = torch.randn(3, 3, 64, 64)
    explainer = ClassEmbedding(classifier)
    expected = explainer(images, "all").maps
    for budget in (1, 20_000, 60_000, 200_000):
        assert_close(explainer(images, "all", memory_budget=budget).maps, expected, 1e-5)


def test_options() -> None:
    with pytest.raises(ExplainerError, match="score"):
        ClassEmbedding(golden_vit(), score="odds")  # type: ignore[arg-type]
    with pytest.raises(ExplainerError, match="block=12 for class_embedding"):
        ClassEmbedding(golden_vit(), block=12)
    with pytest.raises(ExplainerError, match="not defined for"):
        ClassEmbedding(TINY["timm resnet"]())
