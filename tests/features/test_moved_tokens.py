"""Layers behind which tokens stand elsewhere than the patches did are refused; others are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ttame.classifiers.classifier import Classifier
from ttame.errors import TapError
from ttame.features.feature_taps import LayerOutput
from ttame.features.moved_tokens import has_moved
from ttame.images.preprocessing import Preprocessing

WIDTH, SIZE = 16, 64


class Vit(nn.Module):
    """Three blocks on 4x4 patches; something happens to the tokens behind the first of them.

    Args:
        move: is given (B, 16, D) tokens.
    """

    def __init__(self, move: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.move = move
        self.patches = nn.Conv2d(3, WIDTH, 16, 16)
        self.blocks = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(WIDTH, 2, 32, 0.0, batch_first=True, norm_first=True)
                for _ in range(3)
            )
        )
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.blocks[0](self.patches(images).flatten(2).mT)
        tokens = self.move(tokens)
        return self.head(self.blocks[2](self.blocks[1](tokens)).mean(1))


def in_grid(move: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """What moves (B, 4, 4, D)."""
    return lambda tokens: move(tokens.unflatten(1, (4, 4))).flatten(1, 2)


def in_windows(tokens: Tensor) -> Tensor:
    """Two by two windows, one behind the other."""
    return tokens.unflatten(1, (2, 2, 2, 2)).transpose(2, 3).flatten(1, 4)


def best(tokens: Tensor, count: int) -> Tensor:
    chosen = tokens[..., 0].topk(count, dim=1).indices
    return tokens.gather(1, chosen[..., None].expand(-1, -1, WIDTH))


MOVES: dict[str, Callable[[Tensor], Tensor]] = {
    "reversed": lambda tokens: tokens.flip(1),
    "mirrored": in_grid(lambda grid: grid.flip(2)),
    "upside down": in_grid(lambda grid: grid.flip(1)),
    "turned": in_grid(lambda grid: grid.transpose(1, 2)),
    "rolled": in_grid(lambda grid: grid.roll((1, 1), (1, 2))),
    "windows": in_windows,
    "sorted": lambda tokens: best(tokens, 16),
    "pruned to a square": lambda tokens: best(tokens, 9),
}


def classifier(network: nn.Module, taps: list[str] | None = None) -> Classifier:
    return Classifier(network.eval(), preprocessing=Preprocessing.imagenet(SIZE), taps=taps)


@pytest.mark.parametrize("move", MOVES)
def test_moved_tokens_are_refused(move: str) -> None:
    network = Vit(MOVES[move])
    with pytest.raises(TapError, match="no longer stand where the patches stood") as refused:
        classifier(network)
    assert "taps=['patches']" in refused.value.remedy
    assert classifier(network, ["patches"]).taps[0].grid == (4, 4)
    assert classifier(network, ["blocks.0"]).taps[0].grid == (4, 4)


def test_no_tokens_in_front_of_fewer_patches_are_invented() -> None:
    with pytest.raises(TapError, match="8 tokens of blocks.1.* do not fill a grid"):
        classifier(Vit(lambda tokens: (tokens[:, ::2] + tokens[:, 1::2]) / 2))


@pytest.mark.parametrize(
    "there_and_back",
    [
        lambda tokens: tokens,
        lambda tokens: in_windows(in_windows(tokens)),
        in_grid(lambda grid: grid + grid.roll(1, 1) / 2),
        lambda tokens: tokens + 3 * tokens.mean(1, keepdim=True),
    ],
    ids=["left alone", "windows and back", "a neighbour added", "the mean added"],
)
def test_tokens_in_place_are_read(there_and_back: Callable[[Tensor], Tensor]) -> None:
    assert len(classifier(Vit(there_and_back)).taps) == 3


def test_what_counts_as_moved() -> None:
    tap = LayerOutput("x", "tokens", 1, (4, 4), (64, 64))
    own = torch.zeros(4, 16)
    for row, place in enumerate((3, 12, 2, 4)):
        own[row, place] = 1
    moved = own.flip(1)
    assert not has_moved(own, tap)
    assert has_moved(moved, tap)
    assert not has_moved(moved + 0.6 * own, tap)  # about as much of its own
    assert not has_moved(moved + 0.2, tap)  # spread over all
    assert not has_moved(torch.cat([moved[:2], own[2:]]), tap)  # two stayed
    assert not has_moved(torch.ones(4, 1) * moved[:1], tap)  # one token takes everything
    assert not has_moved(torch.cat([moved[:2], 0 * own[2:]]), tap)
    assert has_moved(torch.cat([own[:1], 0 * own[1:]]), tap, of_fewer=True)  # pruned
    assert not has_moved(torch.cat([own[:2], moved[2:]]), tap, of_fewer=True)  # pooled
