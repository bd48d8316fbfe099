"""The normalisations of repeated blocks, in networks that show no tokens otherwise."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.tiny_networks import tiny_timm
from ttame.classifiers.classifier import Classifier
from ttame.explainers.known_explainers import make_explainer
from ttame.features.block_norms import block_norms
from ttame.images.preprocessing import Preprocessing
from ttame.networks.network_trace import trace_network


def test_of_stages_the_blocks_on_the_coarsest_grid_count() -> None:
    network = tiny_timm("pit_ti_224", 64, depth=(1, 2, 3)).network
    norms = block_norms(network, trace_network(network, (64, 64)))
    assert [tap.layer for tap in norms] == [f"transformers.2.blocks.{i}.norm1" for i in range(3)]
    assert {(tap.grid, tap.prefix_tokens) for tap in norms} == {((2, 2), 1)}


class Mixed(nn.Module):
    """A block that puts out pixels first and tokens second, as Transformer in Transformer does."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_in, self.mix = nn.LayerNorm(width), nn.Linear(width, width)
        self.norm_out, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.values, self.mlp = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, pixels: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        pixels = pixels + self.mix(self.norm_in(pixels))
        means = pixels.mean(dim=1).reshape(len(tokens), -1, tokens.shape[2])
        tokens = tokens + torch.cat([tokens[:, :1] * 0, means], dim=1)
        read = self.norm_out(tokens)
        tokens = tokens + (read @ read.mT).softmax(dim=-1) @ self.values(read)
        return pixels, tokens + self.mlp(self.norm_mlp(tokens)).tanh()


class Inner(nn.Module):
    """16 patches of 16 pixels each, in blocks that keep both."""

    def __init__(self, depth: int = 4, width: int = 8) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.unfold = nn.Conv2d(3, width, 4, 4), nn.Unfold(4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.blocks = nn.ModuleList(Mixed(width) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 5)

    def forward(self, images: Tensor) -> Tensor:
        cells = self.unfold(self.embed(images)).transpose(1, 2)
        pixels = cells.reshape(-1, 8, 16).transpose(1, 2)
        patches = pixels.mean(dim=1).reshape(len(images), 16, 8)
        tokens = torch.cat([self.token.expand(len(images), -1, -1), patches], dim=1)
        for block in self.blocks:
            pixels, tokens = block(pixels, tokens)
        scores: Tensor = self.head(self.norm(tokens)[:, 0])
        return scores


def test_blocks_that_put_out_something_else_first_are_tapped_at_what_attention_reads() -> None:
    classifier = Classifier(Inner().eval(), preprocessing=Preprocessing.imagenet(64))
    assert [tap.layer for tap in classifier.taps] == [f"blocks.{i}.norm_out" for i in (1, 2, 3)]
    assert {tap.grid for tap in classifier.taps} == {(4, 4)}
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for method in ("grad_cam", "class_evidence"):
        maps = make_explainer(method, classifier)(images, "all").maps
        assert maps.shape == (1, 5, 4, 4) and maps.isfinite().all() and maps.std() > 0


def test_there_are_none_without_repeated_blocks() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(3))
    network(torch.zeros(2, 3, 16, 16))
    assert block_norms(network.eval(), trace_network(network, (16, 16))) == ()
