from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.conftest import Golden, assert_close
from tests.plain_vit import BLOCKS, golden_vit, plain_vit, two_images
from ttame.errors import ExplainerError
from ttame.explainers.methods.attention.generic_attention import GenericAttention, positive_product
from ttame.explainers.passes.block_attention import (
    attending_layout,
    gradients_by_target,
    read_block_attention,
)


@pytest.mark.parametrize(
    ("dtype", "prefix", "tolerance"),
    [(torch.float32, "output.", 2e-5), (torch.float64, "output.f64.", 1e-6)],
)
def test_golden(dtype: torch.dtype, prefix: str, tolerance: float) -> None:
    golden = Golden("generic_attention")
    classifier, image = golden_vit(dtype), golden["input.image"].to(dtype)
    classes = torch.tensor([golden.number("class_indices")])
    explanation = GenericAttention(classifier)(image, classes)
    assert_close(explanation.logits, golden[f"{prefix}logits"], tolerance)
    layout = attending_layout(classifier, "generic_attention")
    read = read_block_attention(classifier, layout, image)
    steps = gradients_by_target(read.logits.gather(1, classes), read.probabilities)
    for index, gradients in enumerate(steps):
        for block in range(BLOCKS):
            expected = golden.under(f"{prefix}class{index}.block{block}.")
            assert_close(gradients[block].float(), expected["attn_gradient"], tolerance)
            attention = read.probabilities[block]
            assert_close(attention.float(), golden[f"{prefix}block{block}.attn"], tolerance)
            averaged = positive_product(attention, gradients[block], 1)[0]
            assert_close(averaged, expected["head_averaged"], tolerance)
        expected_map = golden[f"{prefix}class{index}.relevance"].reshape(4, 4)
        assert_close(explanation.maps[0, index], expected_map, tolerance)


@pytest.mark.parametrize("start", [0, 1, 2])
def test_replica(start: int) -> None:
    images = two_images().double()
    explainer = GenericAttention(golden_vit(torch.float64), start_block=start)
    found = explainer(images, [[7, 2], [0, 9]])
    for index, image in enumerate(images):
        for place, label in enumerate(found.classes[index].tolist()):
            expected = relevance_of(image, label, start)
            assert_close(found.maps[index, place].double(), expected, 1e-6)


def relevance_of(image: Tensor, label: int, start: int) -> Tensor:
    read: list[Tensor] = []

    def keep(_block: int, attention: Tensor) -> Tensor:
        read.append(attention.requires_grad_())
        return attention

    score = plain_vit()(image, keep)[label]
    relevance = torch.eye(17, dtype=torch.float64)
    gradients = torch.autograd.grad(score, read)
    for attention, gradient in list(zip(read, gradients, strict=True))[start:]:
        mean = torch.zeros(17, 17, dtype=torch.float64)
        for head in range(len(attention)):
            mean += (attention[head] * gradient[head]).clamp(min=0).detach() / len(attention)
        relevance = relevance + mean @ relevance
    return relevance[0, 1:].reshape(4, 4)


def test_only_the_chosen_blocks_keep_a_graph() -> None:
    classifier = golden_vit()
    layout = attending_layout(classifier, "generic_attention")
    read = read_block_attention(classifier, layout, two_images(), first_block=2)
    assert len(read.probabilities) == 1
    assert read.probabilities[0].is_leaf


def test_works_where_gradients_are_switched_off() -> None:
    explainer = GenericAttention(golden_vit())
    expected = explainer(two_images()).maps
    with torch.no_grad():
        assert torch.equal(explainer(two_images()).maps, expected)
    with torch.inference_mode():
        assert torch.equal(explainer(two_images()).maps, expected)


def test_a_block_that_does_not_exist() -> None:
    with pytest.raises(ExplainerError, match="start_block='first' for generic_attention"):
        GenericAttention(golden_vit(), start_block="first")  # type: ignore[arg-type]
