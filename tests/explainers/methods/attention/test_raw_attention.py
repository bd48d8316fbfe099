from __future__ import annotations

import pytest
import torch

from tests.conftest import Golden, assert_close
from tests.plain_vit import golden_vit, plain_vit, two_images
from tests.tiny_networks import TINY
from ttame.errors import ExplainerError
from ttame.explainers.methods.attention.raw_attention import RawAttention


def test_golden() -> None:
    golden = Golden("chefer_vit")
    explanation = RawAttention(golden_vit())(golden["input.image"], "top2")
    expected = golden["output.class0.last_layer_attn"].reshape(4, 4)
    for found in explanation.maps[0]:
        assert_close(found, expected, 2e-5)


@pytest.mark.parametrize("block", [0, 1, -1])
def test_replica(block: int) -> None:
    images = two_images().double()
    found = RawAttention(golden_vit(torch.float64), block=block)(images)
    for index, image in enumerate(images):
        attention = plain_vit().attention(image)[block]
        expected = sum(head[0, 1:] for head in attention) / len(attention)
        assert_close(found.maps[index, 0].double(), expected.reshape(4, 4), 1e-6)
        assert_close(found.logits[index].double(), plain_vit()(image), 1e-6)


def test_prefix_and_patch_tokens_fill_the_row() -> None:
    """A row of attention sums to 1, of which the prefix tokens have their part."""
    for name in ("timm vit, registers", "timm vit, distilled"):
        maps = RawAttention(TINY[name]())(
            torch.randn(2, 3, 56, 56) if "reg" in name else torch.randn(2, 3, 64, 64)
        ).maps
        assert (maps.sum(dim=(2, 3)) < 1).all()
    pooled = RawAttention(TINY["timm vit, patches pooled"]())(torch.randn(2, 3, 64, 64)).maps
    assert_close(pooled.sum(dim=(2, 3)), torch.ones(2, 1), 1e-5)


def test_pooling_over_patches_reads_the_mean_of_their_rows() -> None:
    classifier = TINY["timm vit, patches pooled"]()
    block = classifier.network.blocks[-1].attn  # type: ignore[index,union-attr]
    images = torch.randn(1, 3, 64, 64)
    kept = []
    handle = block.register_forward_pre_hook(lambda _, args: kept.append(args[0]))
    explanation = RawAttention(classifier)(images)
    handle.remove()
    q, k, _ = block.qkv(kept[-1])[0].detach().chunk(3, dim=-1)
    rows = torch.zeros(16)
    for head in range(3):
        part = slice(8 * head, 8 * head + 8)
        rows += (q[:, part] @ k[:, part].T / 8**0.5).softmax(dim=1).mean(dim=0) / 3
    assert_close(explanation.maps[0, 0], rows.reshape(4, 4), 1e-5)
    assert explanation.provenance["pooling"] == "patch tokens"


def test_other_blocks_and_networks_are_refused() -> None:
    with pytest.raises(ExplainerError, match=r"block=3 for raw_attention; allowed: 0 to 2, or -3"):
        RawAttention(golden_vit(), block=3)
    with pytest.raises(ExplainerError, match="block=True"):
        RawAttention(golden_vit(), block=True)
    with pytest.raises(ExplainerError, match=r"not defined for Sequential, a CNN.*try: grad_cam"):
        RawAttention(TINY["cnn"]())
    with pytest.raises(ExplainerError, match="do not attend from every token to every token"):
        RawAttention(TINY["timm swin"]())
