"""CAAP against one plain run of a network for each patch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.conftest import assert_close
from tests.tiny_networks import TINY, tiny_cnn
from ttame.errors import ExplainerError
from ttame.explainers.methods.perturbation.caap import Caap


def slow_map(network: torch.nn.Module, image: Tensor, blocks: range) -> Tensor:
    """(N, C): block after block, one image and one patch at a time."""

    def embedded(pixels: Tensor) -> Tensor:
        tokens = network.patch_embed(pixels)  # type: ignore[operator]
        return network.norm_pre(network.patch_drop(network._pos_embed(tokens)))  # type: ignore[operator]

    def scores(tokens: Tensor) -> Tensor:
        return network.forward_head(network.norm(tokens))  # type: ignore[operator]

    source, tokens = [], embedded(image[None])
    for block in network.blocks:  # type: ignore[union-attr]
        tokens = block(tokens)
        source.append(tokens)
    rows = []
    for patch in range(1, tokens.shape[1]):
        tokens = embedded(torch.zeros_like(image)[None])
        for number, block in enumerate(network.blocks):  # type: ignore[arg-type]
            tokens = block(tokens).clone()
            if number in blocks:
                tokens[0, patch] = source[number][0, patch]
        rows.append(scores(tokens)[0])
    return torch.stack(rows)


@pytest.mark.parametrize(("first", "last"), [(None, None), (0, 2), (-1, -1)])
@torch.no_grad()
def test_each_patch_is_inserted_alone(first: int | None, last: int | None) -> None:
    classifier = TINY["timm vit"]()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    explain = Caap(classifier, first=first, last=last)
    maps = explain(images, "all").maps
    used = range(explain.options["first"], explain.options["last"] + 1)
    assert used == {None: range(1, 2), 0: range(3), -1: range(3, 4)}[first]
    for image, of_image in zip(images, maps, strict=True):
        expected = slow_map(classifier.network, image, used)
        assert_close(of_image.flatten(1).T, expected, 1e-4)


def test_an_image_with_nothing_on_it_has_a_flat_map() -> None:
    classifier = TINY["timm vit, registers"]()
    explanation = Caap(classifier)(torch.zeros(1, 3, 56, 56))
    assert_close(explanation.maps.unique(), explanation.logits.max()[None].expand(1), 1e-4)


def test_the_memory_budget_changes_nothing() -> None:
    classifier = TINY["torchvision vit"]()
    images = torch.randn(2, 3, 64, 64)
    told: list[tuple[int, int]] = []
    explain = Caap(classifier, context="blur", score="probability")
    small = explain(images, memory_budget=1, progress=lambda *done: told.append(done))
    assert told[-1] == (32, 32)
    assert_close(small.maps, explain(images).maps, 1e-5)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ExplainerError, match="caap is not defined for"):
        Caap(tiny_cnn())
    with pytest.raises(ExplainerError, match="first=2 and last=1"):
        Caap(TINY["timm vit"](), first=2, last=1)
    with pytest.raises(ExplainerError, match="context='grey'"):
        Caap(TINY["timm vit"](), context="grey")  # type: ignore[arg-type]
