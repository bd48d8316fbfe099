"""The choices that papers published, and the rules that find them.

Large networks are built on the meta device: the dry run there only computes shapes.
"""

from __future__ import annotations

import itertools

import pytest
import timm
import torch
import torchvision.models
from torch import Tensor, nn

from ttame.errors import TapError
from ttame.features.named_taps import named_taps
from ttame.features.tap_choice import TapChoice, choose_taps
from ttame.networks.network_trace import trace_network


def choice_of(network: nn.Module, size: int | tuple[int, int] = 224) -> TapChoice:
    image_size = (size, size) if isinstance(size, int) else size
    return choose_taps(network, trace_network(network, image_size))


def layers_of(choice: TapChoice) -> list[str]:
    return [tap.layer for tap in choice.taps]


def on_meta(library: str, name: str) -> nn.Module:
    with torch.device("meta"):
        if library == "torchvision":
            network: nn.Module = torchvision.models.get_model(name, weights=None)
        else:
            network = timm.create_model(name)
    return network


@pytest.mark.parametrize(
    ("library", "name", "layers", "grids"),
    [
        ("torchvision", "vgg16", ["features.16", "features.23", "features.30"], [28, 14, 7]),
        ("torchvision", "resnet50", ["layer2", "layer3", "layer4"], [28, 14, 7]),
        (
            "torchvision",
            "vit_b_16",
            [f"encoder.layers.encoder_layer_{block}.ln_1" for block in (9, 10, 11)],
            [14, 14, 14],
        ),
        ("torchvision", "convnext_tiny", ["features.3", "features.5", "features.7"], [28, 14, 7]),
        ("timm", "vgg16", ["features.16", "features.23", "features.30"], [28, 14, 7]),
        ("timm", "resnet50", ["layer2", "layer3", "layer4"], [28, 14, 7]),
        (
            "timm",
            "vit_base_patch16_224",
            ["blocks.9.norm1", "blocks.10.norm1", "blocks.11.norm1"],
            [14, 14, 14],
        ),
        ("timm", "tf_efficientnet_lite0", ["blocks.2", "blocks.4", "blocks.6"], [28, 14, 7]),
        (
            "timm",
            "swin_tiny_patch4_window7_224",
            ["layers.1", "layers.2", "layers.3"],
            [28, 14, 7],
        ),
        ("timm", "convnext_tiny", ["stages.1", "stages.2", "stages.3"], [28, 14, 7]),
    ],
)
def test_published_taps(library: str, name: str, layers: list[str], grids: list[int]) -> None:
    choice = choice_of(on_meta(library, name))
    assert layers_of(choice) == layers
    assert [tap.grid for tap in choice.taps] == [(side, side) for side in grids]


def test_published_taps_of_transformers() -> None:
    from transformers import ViTConfig, ViTForImageClassification

    with torch.device("meta"):
        network = ViTForImageClassification(ViTConfig())
    choice = choice_of(network)
    assert layers_of(choice) == [f"vit.layers.{block}.layernorm_before" for block in (9, 10, 11)]
    assert {(tap.grid, tap.prefix_tokens, tap.channels) for tap in choice.taps} == {
        ((14, 14), 1, 768)
    }


def small_vit(**options: object) -> nn.Module:
    sizes: dict[str, object] = {"img_size": 64, "embed_dim": 12, "depth": 4, "num_heads": 2}
    return timm.create_model("vit_base_patch16_224", num_classes=5, **{**sizes, **options})


@pytest.mark.parametrize(
    ("options", "prefix"),
    [
        ({}, 1),
        ({"reg_tokens": 4}, 5),
        ({"class_token": False, "global_pool": "avg"}, 0),
        ({"class_token": False, "global_pool": "avg", "reg_tokens": 4}, 4),
    ],
    ids=["class", "class+registers", "none", "registers"],
)
@pytest.mark.parametrize("size", [(64, 64), (64, 96), (96, 48)])
def test_prefix_tokens_and_grids(
    options: dict[str, object], prefix: int, size: tuple[int, int]
) -> None:
    choice = choice_of(small_vit(**options, img_size=size), size)
    assert choice.family == "Vision Transformer"
    assert {tap.prefix_tokens for tap in choice.taps} == {prefix}
    assert {tap.grid for tap in choice.taps} == {(size[0] // 16, size[1] // 16)}


def test_prefix_tokens_are_found_without_a_declaration() -> None:
    network = small_vit(reg_tokens=4)
    del network.num_prefix_tokens
    for block in network.modules():
        if hasattr(block, "num_prefix_tokens"):
            del block.num_prefix_tokens
    network.forward_head = lambda x: network.head(x[:, 0])
    trace = trace_network(network, (64, 64))
    tap = named_taps(network, trace, ["blocks.3"]).taps[0]
    assert (tap.grid, tap.prefix_tokens) == ((4, 4), 5)


def test_a_transformer_of_one_block() -> None:
    choice = choice_of(small_vit(depth=1), 64)
    assert layers_of(choice) == ["blocks.0.norm1"]


class Pyramid(nn.Module):
    """Two stages that embed patches first and work on them afterwards, at another level."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList([nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 16, 2, 2)])
        self.stages = nn.ModuleList(
            nn.ModuleList(nn.Sequential(nn.Conv2d(c, c, 1), nn.ReLU()) for _ in range(3))
            for c in (8, 16)
        )
        self.head = nn.Linear(16, 5)

    def forward(self, images: Tensor) -> Tensor:
        for embedding, stage in zip(self.embeddings, self.stages, strict=True):
            images = embedding(images)
            for block in stage:
                images = block(images)
        logits: Tensor = self.head(images.mean((2, 3)))
        return logits


def test_the_end_of_a_stage_is_tapped_not_its_beginning() -> None:
    assert layers_of(choice_of(Pyramid(), 32)) == ["stages.0.2", "stages.1.2"]


def test_attention_pooling_is_no_closing_pool() -> None:
    network = timm.create_model("mvitv2_tiny", num_classes=5, img_size=64)
    assert layers_of(choice_of(network, 64)) == ["stages.1", "stages.2", "stages.3"]


def test_an_early_grid_is_no_answer() -> None:
    layers = [nn.Conv2d(3, 8, 3, 2, 1), nn.Flatten(2)] + [nn.Linear(64, 64) for _ in range(6)]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 5))
    with pytest.raises(TapError, match=r"0, comes before half .*taps=\["):
        choice_of(network, 16)


def test_the_family_does_not_depend_on_who_names_the_taps() -> None:
    """Blocks that attend on grids of a single resolution, channels last."""

    class GridAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.values = nn.Linear(8, 8)

        def forward(self, grids: Tensor) -> Tensor:
            tokens = grids.flatten(1, 2)
            weights = (tokens @ tokens.transpose(1, 2)).softmax(dim=-1)
            return grids + (weights @ self.values(tokens)).reshape(grids.shape)

    class OnGrids(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Conv2d(3, 8, 4, 4)
            self.blocks = nn.Sequential(*[GridAttention() for _ in range(4)])
            self.head = nn.Linear(8, 5)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.head(
                self.blocks(self.embed(images).permute(0, 2, 3, 1)).mean(dim=(1, 2))
            )
            return logits

    network = OnGrids()
    trace = trace_network(network, (32, 32))
    chosen = choose_taps(network, trace)
    assert chosen.family == "Vision Transformer"
    for named in (chosen.taps, [tap.layer for tap in chosen.taps]):
        assert named_taps(network, trace, named).family == chosen.family


def test_tokens_that_do_not_stand_row_by_row_are_left_out() -> None:
    with torch.device("meta"):
        network = timm.create_model("hiera_tiny_224", num_classes=5)
    taps = choice_of(network).taps
    # Its earlier grids, 28x28 and 14x14, keep the tokens of each window together.
    assert {tap.grid for tap in taps} == {(7, 7)}


def test_strides_of_two_kinds_lead_to_stages_of_another_aspect_ratio() -> None:
    """As of sounds, whose frequencies are pooled more than their times."""
    widths = (3, 8, 12, 16, 20)
    stages = [
        nn.Sequential(nn.Conv2d(a, b, 3, (2, 1), 1), nn.ReLU())
        for a, b in itertools.pairwise(widths)
    ]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(20, 6)]
    choice = choice_of(nn.Sequential(*stages, *head), (32, 48))
    assert layers_of(choice) == ["1", "2", "3"]
    assert [tap.grid for tap in choice.taps] == [(8, 48), (4, 48), (2, 48)]


@pytest.mark.parametrize("patch", [(16, 4), (4, 16), (8, 8), (8, 2)])
def test_the_grid_of_patches_is_that_of_the_convolution_that_cuts_them(
    patch: tuple[int, int],
) -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(8)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, tokens: Tensor) -> Tensor:
            normalised = self.norm(tokens)
            attended: Tensor = self.attention(normalised, normalised, normalised)[0]
            return tokens + attended

    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 8, patch, patch)
            self.token = nn.Parameter(torch.zeros(1, 1, 8))
            self.blocks = nn.Sequential(Block(), Block())
            self.head = nn.Linear(8, 5)

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.patches(images).flatten(2).transpose(1, 2)
            tokens = torch.cat([self.token.expand(len(tokens), -1, -1), tokens], dim=1)
            logits: Tensor = self.head(self.blocks(tokens)[:, 0])
            return logits

    tap = choice_of(Wide().eval(), (32, 64)).taps[-1]
    assert tap.grid == (32 // patch[0], 64 // patch[1])
    assert tap.prefix_tokens == 1


def test_tokens_before_the_batch_are_not_chosen() -> None:
    class TokensFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 8, 8, 8)
            layer = nn.TransformerEncoderLayer(8, 2, 8, norm_first=True)
            self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
            self.head = nn.Linear(8, 5)

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.patches(images).flatten(2).permute(2, 0, 1)
            logits: Tensor = self.head(self.encoder(tokens).mean(0))
            return logits

    with pytest.raises(TapError, match=r"before the batch.*\(16, 1, 8\).*batch_first=True"):
        choice_of(TokensFirst().eval(), 32)
