"""Grids of patches that no convolution cuts out are seen, whatever their shape."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import ttame
from ttame.classifiers.classifier import Classifier
from ttame.features.patch_grids import with_patch_grids
from ttame.images.preprocessing import Preprocessing
from ttame.networks.network_trace import trace_network

WIDTH = 8
Cut = Callable[[Tensor, tuple[int, int]], Tensor]


def unfolded(images: Tensor, patch: tuple[int, int]) -> Tensor:
    return F.unfold(images, patch, stride=patch).mT


def reshaped(images: Tensor, patch: tuple[int, int]) -> Tensor:
    rows = images.unflatten(2, (-1, patch[0])).unflatten(4, (-1, patch[1]))
    return rows.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


class Mixing(nn.Module):
    """Adds the mean of all tokens to each."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.mix = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + self.mix(self.norm(tokens)).mean(1, keepdim=True)


class Cuts(nn.Module):
    def __init__(self, cut: Cut, patch: tuple[int, int], prefix: int = 0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.cut, self.patch = cut, patch
        self.embed = nn.Linear(3 * patch[0] * patch[1], WIDTH)
        self.extra = nn.Parameter(torch.randn(1, prefix, WIDTH))
        self.blocks, self.head = nn.Sequential(Mixing(), Mixing()), nn.Linear(WIDTH, 3)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.embed(self.cut(images, self.patch))
        tokens = torch.cat([self.extra.expand(len(images), -1, -1), tokens], dim=1)
        return self.head(self.blocks(tokens).mean(1))


@pytest.mark.parametrize("cut", [unfolded, reshaped])
@pytest.mark.parametrize(
    ("size", "patch", "prefix"),
    [((32, 32), (8, 4), 0), ((32, 32), (4, 8), 5), ((16, 64), (8, 8), 1), ((24, 32), (8, 4), 2)],
)
def test_the_grid_is_that_of_the_patches(
    cut: Cut, size: tuple[int, int], patch: tuple[int, int], prefix: int
) -> None:
    classifier = Classifier(
        Cuts(cut, patch, prefix).eval(),
        preprocessing=Preprocessing(size, size, mean=(0, 0, 0), std=(1, 1, 1)),
    )
    tap = classifier.taps[-1]
    assert (tap.grid, tap.prefix_tokens) == ((size[0] // patch[0], size[1] // patch[1]), prefix)


def test_what_a_patch_changes_lies_where_the_patch_lies() -> None:
    network = Cuts(unfolded, (8, 4)).eval()
    network.blocks[0].mix.weight.data.zero_()
    classifier = Classifier(
        network, preprocessing=Preprocessing((32, 32), (32, 32), mean=(0, 0, 0), std=(1, 1, 1))
    )
    images = torch.zeros(2, 3, 32, 32)
    images[1, :, 16:24, 28:] = 1
    features = classifier.with_taps(["blocks.0"]).read_features(images).feature_maps[0]
    changed = (features[1] - features[0]).abs().sum(dim=0) > 1e-6
    assert changed.nonzero().tolist() == [[2, 7]]


def test_another_order_and_a_convolution_are_left_alone() -> None:
    def by_columns(images: Tensor, patch: tuple[int, int]) -> Tensor:
        return unfolded(images.mT, (patch[1], patch[0]))

    odd = Cuts(by_columns, (8, 4))
    assert with_patch_grids(odd, trace_network(odd, (32, 32))).patch_grids == ()
    with pytest.raises(ttame.TtameError, match="in another order"):
        Classifier(odd.eval(), preprocessing=Preprocessing.imagenet(32))
    cnn = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    trace = trace_network(cnn, (16, 16))
    assert with_patch_grids(cnn, trace) is trace
