from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.conftest import Golden, assert_close
from tests.plain_vit import golden_vit, plain_vit, two_images
from tests.tiny_networks import TINY
from ttame.errors import ExplainerError
from ttame.explainers.methods.attention.attention_rollout import AttentionRollout


@pytest.mark.parametrize(("start", "suffix"), [(0, ""), (1, "_start1")])
def test_golden(start: int, suffix: str) -> None:
    golden = Golden("chefer_vit")
    rollout = AttentionRollout(golden_vit(), start_block=start)
    found = rollout(golden["input.image"], "top2").maps[0]
    expected = golden[f"output.baseline.attention_rollout{suffix}"].reshape(4, 4)
    assert_close(found, expected.expand(2, -1, -1), 2e-5)


def test_replica() -> None:
    images = two_images().double()
    found = AttentionRollout(golden_vit(torch.float64))(images).maps[:, 0].double()
    for index, image in enumerate(images):
        product = torch.eye(17, dtype=torch.float64)
        for attention in plain_vit().attention(image):
            matrix = torch.eye(17, dtype=torch.float64) + attention.mean(dim=0)
            for row in matrix:
                row /= row.sum()
            product = matrix @ product
        assert_close(found[index], product[0, 1:].reshape(4, 4), 1e-6)


@pytest.mark.parametrize("name", ["timm vit", "timm vit, patches pooled", "transformers vit"])
def test_constant_attention_gives_a_uniform_map(name: str) -> None:
    """With A = 1/T everywhere the class token's row is (1 − 2^−L)/T at every patch."""
    classifier = TINY[name]()
    for part_name, parameter in classifier.network.named_parameters():
        if "qkv" in part_name or "q_proj" in part_name:
            nn.init.zeros_(parameter)
    rollout = AttentionRollout(classifier)
    maps = rollout(torch.randn(2, 3, *classifier.preprocessing.input_size)).maps
    tokens, blocks = rollout.layout.number_of_tokens, len(rollout.layout.blocks)
    share = (1 - 0.5**blocks) / tokens
    if rollout.layout.pooling == "patch tokens":
        # The identity's share of the rows that are read falls on the patches themselves.
        share += 0.5**blocks / tokens
    assert_close(maps, torch.full_like(maps, share), 1e-5)


def test_options_and_networks() -> None:
    assert AttentionRollout(golden_vit(), start_block=-1).first_block == 2
    with pytest.raises(ExplainerError, match=r"start_block=7 for attention_rollout; allowed: 0 to"):
        AttentionRollout(golden_vit(), start_block=7)
    with pytest.raises(ExplainerError, match="not defined for Sequential"):
        AttentionRollout(TINY["cnn"]())
