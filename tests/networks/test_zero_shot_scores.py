"""Scores of CLIP-like networks are scaled cosines."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ttame.errors import ClassifierError
from ttame.networks.zero_shot_scores import ZeroShotScores, embedding_of


def tower() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 4, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.parametrize("bias", [0.0, -7.5])
def test_scores_are_scaled_cosines(bias: float) -> None:
    network, texts, images = tower(), torch.randn(4, 6) * 3, torch.randn(2, 3, 16, 16)
    found = ZeroShotScores(network, texts, scale=20.0, bias=bias)(images)
    cosines = F.cosine_similarity(network(images)[:, None], texts[None], dim=2)
    assert torch.allclose(found, 20 * cosines + bias, atol=1e-4)


def test_rows_give_the_same_scores_to_the_last_bit() -> None:
    first = ZeroShotScores(tower(), torch.randn(4, 6), scale=99.7, bias=-1.5)
    again = ZeroShotScores.of_rows(tower(), first.rows())
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(first(images), again(images))
    assert first.state_dict().keys() == again.state_dict().keys()


def test_the_random_numbers_and_the_tower_stay_as_they_were() -> None:
    network = tower()
    state = torch.random.get_rng_state()
    half = ZeroShotScores(network.half(), torch.ones(2, 6), scale=1.0)
    assert torch.equal(state, torch.random.get_rng_state())
    assert half.classes.weight.dtype == torch.float16
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_an_embedding_without_direction_has_scores_of_0() -> None:
    nothing = ZeroShotScores(nn.Flatten(), torch.eye(12)[:2], scale=5.0)(torch.zeros(1, 3, 2, 2))
    assert nothing.tolist() == [[0.0, 0.0]]


def test_where_the_embedding_is() -> None:
    wanted, other = torch.ones(2, 4), torch.zeros(2, 9)
    for output in (
        wanted,
        (wanted, other),
        SimpleNamespace(image_embeds=wanted, pooler_output=other),
        SimpleNamespace(pooler_output=wanted, last_hidden_state=other),
    ):
        assert embedding_of(output, 4) is wanted
    with pytest.raises(ClassifierError, match="9 numbers for text embeddings of 4"):
        embedding_of(other, 4)
    with pytest.raises(ClassifierError, match=r"returns \(2, 4, 1, 1\)"):
        embedding_of(wanted[..., None, None], 4)
