from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.conftest import assert_close
from tests.plain_vit import BLOCKS, golden_vit, plain_vit, two_images
from tests.tiny_networks import TINY
from ttame.errors import ExplainerError
from ttame.explainers.methods.attention.iia import Iia


def map_of(image: Tensor, label: int, image_steps: int, attention_steps: int) -> Tensor:
    """Run by run: one with the last block's attention as it is, then those with a share of it."""
    means = torch.zeros(BLOCKS, 17, 17, dtype=torch.float64)
    runs = 0
    for outer in range(image_steps):
        share = outer / (image_steps - 1)
        for scale in [1.0] + [inner / (attention_steps - 1) for inner in range(attention_steps)]:
            read: list[Tensor] = []

            def change(
                block: int, attention: Tensor, scale: float = scale, read: list[Tensor] = read
            ) -> Tensor:
                attention = attention.clone().requires_grad_() if block == 0 else attention
                read.append(attention * scale if block == BLOCKS - 1 else attention)
                return read[-1]

            score = plain_vit()(image * share, change)[label]
            for block, gradient in enumerate(torch.autograd.grad(score, read)):
                means[block] += (gradient * read[block].detach()).clamp(min=0).mean(dim=0)
            runs += 1
    product = torch.eye(17, dtype=torch.float64)
    for mean in means / runs:
        matrix = torch.eye(17, dtype=torch.float64) + mean
        product = (matrix / matrix.sum(dim=1, keepdim=True)) @ product
    return product[0, 1:].reshape(4, 4)


@pytest.mark.parametrize(("outer", "inner"), [(2, 3), (3, 2)])
def test_replica(outer: int, inner: int) -> None:
    images = two_images().double()
    explainer = Iia(golden_vit(torch.float64), image_steps=outer, attention_steps=inner)
    found = explainer(images, [[7, 2], [0, 9]])
    for index, image in enumerate(images):
        for place, label in enumerate(found.classes[index].tolist()):
            expected = map_of(image, label, outer, inner)
            assert_close(found.maps[index, place].double(), expected, 1e-6)
        assert_close(found.logits[index].double(), plain_vit()(image), 1e-6)


def test_replica_of_the_feature_form() -> None:
    classifier = TINY["cnn"]()
    images = torch.randn(2, 3, 32, 32)
    found = Iia(classifier)(images, [[1, 4], [6, 0]])
    body, head = classifier.network[:7].eval(), classifier.network[7:].eval()  # type: ignore[index]
    for index, image in enumerate(images):
        for place, label in enumerate(found.classes[index].tolist()):
            total = torch.zeros(4, 4)
            for step in range(11):
                features = body(image[None] * step / 10).detach().requires_grad_()
                (gradient,) = torch.autograd.grad(head(features)[0, label], features)
                for channel in range(16):
                    total += gradient[0, channel] * features[0, channel].detach().clamp(min=0)
            assert_close(found.maps[index, place], total, 1e-5)
    assert found.maps.min() < 0


def test_feature_form_of_a_transformer_drops_prefix_tokens() -> None:
    explainer = Iia(TINY["timm vit, registers"](), form="features", image_steps=2)
    assert explainer(torch.randn(1, 3, 56, 56)).maps.shape == (1, 1, 4, 4)


def test_published_counts_and_memory_budget() -> None:
    explainer = Iia(golden_vit())
    assert explainer.options == {"form": "attention", "image_steps": 6, "attention_steps": 6}
    features = Iia(TINY["timm swin"]())
    assert features.options == {"form": "features", "image_steps": 11, "attention_steps": 6}
    explainer = Iia(golden_vit(), image_steps=2, attention_steps=2)
    expected = explainer(two_images(), "all").maps
    seen: list[tuple[int, int]] = []
    found = explainer(
        two_images(), "all", memory_budget=1, progress=lambda *step: seen.append(step)
    )
    assert_close(found.maps, expected, 1e-5)
    assert seen == [(1, 2), (2, 2)]


def test_options() -> None:
    with pytest.raises(ExplainerError, match="iia is not defined for Sequential, a CNN"):
        Iia(TINY["cnn"](), form="attention")
    with pytest.raises(ExplainerError, match="form='gradient' for iia; allowed: 'auto' or"):
        Iia(golden_vit(), form="gradient")  # type: ignore[arg-type]
    with pytest.raises(ExplainerError, match="image_steps=1 for iia.*at least 2"):
        Iia(golden_vit(), image_steps=1)
    with pytest.raises(ExplainerError, match="attention_steps=1"):
        Iia(golden_vit(), attention_steps=1)
