"""The ablations do what they say, and nothing to the network they are made from."""

from __future__ import annotations

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from benchmarks.transformer_ablations import (
    patch_order,
    with_permuted_positions,
    with_uniform_attention,
    with_uniform_class_attention,
)
from tests.conftest import assert_close
from ttame.networks.attention_reading import reading_attention

ABLATIONS = [with_uniform_attention, with_uniform_class_attention, with_permuted_positions]


def small_vit(depth: int = 2) -> VisionTransformer:
    """17 tokens, with weights that make attention sharp and positions large."""
    torch.manual_seed(0)
    network = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=depth, num_heads=3, num_classes=5
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.4)
    return network.eval()


def logits_of(network: VisionTransformer) -> Tensor:
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits: Tensor = network(images)
    return logits


def attention_in(network: VisionTransformer) -> Tensor:
    """(blocks, B, heads, T, T)."""
    with reading_attention(tokens=17) as probabilities:
        logits_of(network)
    return torch.stack(probabilities)


def test_uniform_attention_is_the_same_for_all_tokens() -> None:
    network = small_vit()
    found = attention_in(with_uniform_attention(network))
    assert found.shape == (2, 2, 3, 17, 17)
    assert torch.allclose(found, torch.full_like(found, 1 / 17))
    assert attention_in(network).amax() > 0.5


def test_the_class_token_alone_attends_uniformly() -> None:
    network = small_vit(depth=1)
    # One block shows patches to nobody but the class token, so both are the same there.
    alone = logits_of(with_uniform_class_attention(network))
    assert_close(alone, logits_of(with_uniform_attention(network)), 1e-5)
    deep = small_vit(depth=2)
    with torch.no_grad():
        inside = deep.blocks[0].norm1(torch.randn(2, 17, 24))
        attended = deep.blocks[0].attn(inside)
        alone = with_uniform_class_attention(deep).blocks[0].attn(inside)
        uniform = with_uniform_attention(deep).blocks[0].attn(inside)
    assert_close(alone[:, 1:], attended[:, 1:], 1e-6)
    assert_close(alone[:, 0], uniform[:, 0], 1e-5)
    assert (alone[:, 0] - attended[:, 0]).abs().max() > 0.01


def test_permuted_positions_are_shuffled_patches() -> None:
    network = small_vit()
    order = patch_order(16)
    assert sorted(order.tolist()) == list(range(16)) != order.tolist()

    def shuffle(_module: object, _inputs: object, patches: Tensor) -> Tensor:
        return patches[:, order.argsort()]

    expected = logits_of(with_permuted_positions(network))
    handle = network.patch_embed.register_forward_hook(shuffle)
    assert_close(logits_of(network), expected, 1e-4)
    handle.remove()


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_each_changes_the_answer_and_not_the_network(ablation: object) -> None:
    network = small_vit()
    before = logits_of(network)
    changed = logits_of(ablation(network))  # type: ignore[operator]
    assert (changed - before).abs().max() > 0.01 * before.abs().max()
    assert torch.equal(logits_of(network), before)


def test_the_class_token_keeps_its_place() -> None:
    network = small_vit()
    changed = with_permuted_positions(network)
    assert torch.equal(changed.pos_embed[:, 0], network.pos_embed[:, 0])
    assert not torch.equal(with_permuted_positions(network, seed=1).pos_embed, changed.pos_embed)
