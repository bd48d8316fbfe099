from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import Golden, assert_close
from tests.plain_vit import BLOCKS, golden_vit, plain_vit, two_images
from tests.tiny_networks import TINY, tiny_timm
from ttame.errors import ExplainerError
from ttame.explainers.methods.perturbation.vit_recipro_cam import ViTReciproCam


def options_of(gaussian: int, class_token: int) -> dict[str, Any]:
    return {
        "kernel": "gaussian" if gaussian else "single",
        "class_token": "kept" if class_token else "zeroed",
        "score": "logit",
    }


@pytest.mark.parametrize("way", ["auto", "whole"])
@pytest.mark.parametrize(
    ("gaussian", "class_token", "k"), list(itertools.product((0, 1), (0, 1), (1, 2)))
)
def test_golden(gaussian: int, class_token: int, k: int, way: Any) -> None:
    golden = Golden("vit_recipro_cam")
    options = options_of(gaussian, class_token)
    explainer = ViTReciproCam(golden_vit(), block=-k, residual="masked", way=way, **options)
    assert explainer.options["way"] == ("short" if way == "auto" and k == 1 else "whole")
    found = explainer(golden["input.image"], "all")
    assert_close(found.logits, golden["output.logits"], 2e-5)
    expected = golden[f"output.gaussian{gaussian}_cls{class_token}_k{k}"]
    assert_close(found.maps, expected, 2e-5)


@pytest.mark.parametrize("way", ["auto", "whole"])
@pytest.mark.parametrize(("gaussian", "class_token"), list(itertools.product((0, 1), (0, 1))))
def test_golden_with_the_residual_kept(gaussian: int, class_token: int, way: Any) -> None:
    golden = Golden("vit_recipro_cam_torchimpl")
    explainer = ViTReciproCam(golden_vit(), way=way, **options_of(gaussian, class_token))
    found = explainer(golden["input.image"], "all").maps
    assert_close(found, golden[f"output.gaussian{gaussian}_cls{class_token}"], 2e-5)


def map_of(image: Tensor, block: int, *, masked: bool, gaussian: bool) -> Tensor:
    """Probabilities (classes, 4, 4), mosaic by mosaic."""
    plain = plain_vit()
    before = plain.embed(image)
    for index in range(block):
        before = plain.block(index, before)
    normalised = plain.norm(f"blocks.{block}.norm1", before)
    maps = torch.zeros(10, 4, 4, dtype=torch.float64)
    for y, x in itertools.product(range(4), range(4)):
        mask = torch.zeros(17, 1, dtype=torch.float64)
        mask[0] = 1
        for down, right in itertools.product((-1, 0, 1), (-1, 0, 1)):
            inside = 0 <= y + down < 4 and 0 <= x + right < 4
            if inside and (gaussian or (down, right) == (0, 0)):
                weight = (2 - abs(down)) * (2 - abs(right)) / 16 if gaussian else 1
                mask[1 + 4 * (y + down) + x + right] = weight
        tokens = before * mask if masked else before
        tokens = plain.block(block, tokens, normalised=normalised * mask)
        for index in range(block + 1, BLOCKS):
            tokens = plain.block(index, tokens)
        maps[:, y, x] = plain.classify(tokens[0]).softmax(dim=0)
    return maps


@pytest.mark.parametrize("block", [2, 1, 0])
@pytest.mark.parametrize("gaussian", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_replica(block: int, gaussian: bool, masked: bool) -> None:
    images = two_images().double()
    explainer = ViTReciproCam(
        golden_vit(torch.float64),
        block=block,
        kernel="gaussian" if gaussian else "single",
        residual="masked" if masked else "kept",
    )
    found = explainer(images, "all")
    for index, image in enumerate(images):
        expected = map_of(image, block, masked=masked, gaussian=gaussian)
        assert_close(found.maps[index].double(), expected, 1e-6)


WITH_CLASS_TOKEN = [
    "timm vit", "timm vit, distilled", "timm vit, registers", "torchvision vit", "transformers vit",
]  # fmt: skip


@pytest.mark.parametrize("network", WITH_CLASS_TOKEN)
@pytest.mark.parametrize("kernel", ["gaussian", "single"])
@pytest.mark.parametrize("class_token", ["kept", "zeroed"])
def test_the_short_way_equals_the_whole_one(network: str, kernel: Any, class_token: Any) -> None:
    classifier = TINY[network]()
    images = torch.randn(2, 3, *classifier.preprocessing.input_size)
    options = {"kernel": kernel, "class_token": class_token, "score": "logit"}
    short = ViTReciproCam(classifier, **options)
    whole = ViTReciproCam(classifier, way="whole", **options)
    assert (short.options["way"], whole.options["way"]) == ("short", "whole")
    assert_close(short(images, "all").maps, whole(images, "all").maps, 1e-5)


SIZES = {"embed_dim": 24, "depth": 3, "num_heads": 3}


class PlacedAttention(nn.Module):
    """Attention to tokens that are told their places, as relative and rotary positions do."""

    def __init__(self, attention: nn.Module, strength: float) -> None:
        super().__init__()
        self.attention = attention
        self.places = nn.Parameter(torch.randn(17, 24) * strength)

    def forward(self, tokens: Tensor, **options: Any) -> Any:
        return self.attention(tokens + self.places[: tokens.shape[1]], **options)


@pytest.mark.parametrize(("strength", "way"), [(0.0, "short"), (0.05, "whole"), (1.0, "whole")])
def test_the_whole_way_is_taken_where_a_block_knows_places(strength: float, way: str) -> None:
    classifier = TINY["timm vit"]()
    block = classifier.network.get_submodule("blocks.3")
    block.attn = PlacedAttention(block.attn, strength)  # type: ignore[arg-type]
    assert ViTReciproCam(classifier).options["way"] == way


@pytest.mark.parametrize(
    ("name", "size"), [("beit_base_patch16_224", 64), ("eva02_tiny_patch14_224", 56)]
)
def test_the_whole_way_is_taken_where_a_block_has_a_fixed_length(name: str, size: int) -> None:
    """Relative position biases and rotary angles are tables for all T tokens."""
    explainer = ViTReciproCam(tiny_timm(name, size, global_pool="token", **SIZES))
    assert explainer.layout.pooling == "class token"
    assert explainer.options["way"] == "whole"
    assert explainer(torch.randn(2, 3, size, size)).maps.shape == (2, 1, 4, 4)


def test_the_whole_way_is_taken_where_patches_are_pooled() -> None:
    assert ViTReciproCam(TINY["timm vit, patches pooled"]()).options["way"] == "whole"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_finds_the_same_ways(dtype: torch.dtype) -> None:
    found = ViTReciproCam(golden_vit(dtype), score="logit")
    assert found.options["way"] == "short"
    maps = found(two_images(), "all").maps
    assert maps.dtype == torch.float32
    assert_close(maps, ViTReciproCam(golden_vit(), score="logit")(two_images(), "all").maps, 0.05)
    rotary = tiny_timm("eva02_tiny_patch14_224", 56, global_pool="token", **SIZES)
    rotary.network.to(dtype)
    assert ViTReciproCam(rotary).options["way"] == "whole"


@pytest.mark.parametrize("network", ["timm vit", "timm vit, patches pooled", "torchvision vit"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_tells_mosaics_apart_that_differ_little(
    network: str, dtype: torch.dtype
) -> None:
    """In logits near 8, of which bfloat16 tells apart steps of 1/16 and float16 of 1/128."""
    narrow, wide = TINY[network](), TINY[network]()
    *_, head = (m for m in narrow.network.modules() if isinstance(m, nn.Linear))
    with torch.no_grad():
        head.weight.mul_(0.01 / head.weight.std())
        head.bias.fill_(8)
    narrow.network.to(dtype)
    wide.network.load_state_dict(narrow.network.state_dict())
    images = torch.randn(2, 3, *narrow.preprocessing.input_size)
    images = images.to(dtype).float()
    expected = ViTReciproCam(wide, score="logit")(images, "all")
    found = ViTReciproCam(narrow, score="logit")(images.to(dtype), "all")
    assert torch.equal(found.logits, found.logits.to(dtype).float())
    for one, other in zip(
        found.maps.flatten(0, 1).flatten(1), expected.maps.flatten(0, 1).flatten(1), strict=True
    ):
        assert float(torch.corrcoef(torch.stack([one, other]))[0, 1]) > 0.9


@pytest.mark.parametrize("network", ["timm vit", "timm vit, patches pooled"])
@pytest.mark.parametrize("way", ["auto", "whole"])
def test_the_memory_budget_changes_nothing(network: str, way: Any) -> None:
    explainer = ViTReciproCam(TINY[network](), way=way)
    images = torch.randn(3, 3, 64, 64)
    expected = explainer(images, "all").maps
    for budget in (1, 50_000, 200_000):
        seen: list[tuple[int, int]] = []
        explanation = explainer(
            images,
            "all",
            memory_budget=budget,
            progress=lambda *step, seen=seen: seen.append(step),
        )
        assert_close(explanation.maps, expected, 1e-5)
        assert seen[-1] == (48, 48)
        assert seen == sorted(seen)


def test_the_body_runs_once_for_the_batch() -> None:
    classifier = golden_vit()
    explainer = ViTReciproCam(classifier, way="whole")
    rows: list[tuple[int, int]] = []
    for index, block in enumerate(classifier.network.blocks):  # type: ignore[arg-type]
        block.register_forward_hook(
            lambda _, args, __, index=index: rows.append((index, len(args[0])))
        )
    explainer(two_images(), "all")
    assert rows == [(0, 2), (1, 2), (2, 2), (2, 16), (2, 16)]


def test_images_of_another_size_and_shape() -> None:
    """Where the network takes them: 4 x 4 patches when it was made, 3 x 6 now."""
    classifier = tiny_timm(
        "vit_tiny_patch16_224", 64, embed_dim=24, depth=2, num_heads=3, dynamic_img_size=True
    )
    images = torch.randn(2, 3, 48, 96)
    short = ViTReciproCam(classifier)(images).maps
    assert short.shape == (2, 1, 3, 6)
    assert_close(short, ViTReciproCam(classifier, way="whole")(images).maps, 1e-5)


def test_defaults_and_options() -> None:
    explainer = ViTReciproCam(golden_vit())
    assert explainer.options == {
        "block": -1, "kernel": "gaussian", "residual": "kept", "class_token": "kept",
        "score": "probability", "way": "short",
    }  # fmt: skip
    for option in ("kernel", "residual", "class_token", "score", "way"):
        with pytest.raises(ExplainerError, match=f"{option}.*odd.*allowed"):
            ViTReciproCam(golden_vit(), **{option: "odd"})  # type: ignore[arg-type]
    with pytest.raises(ExplainerError, match="block=-4 for vit_recipro_cam"):
        ViTReciproCam(golden_vit(), block=-4)


def test_networks_without_what_it_needs() -> None:
    with pytest.raises(ExplainerError, match="not defined for.*no self-attention.*try: grad_cam"):
        ViTReciproCam(TINY["timm resnet"]())
    post_norm = tiny_timm(
        "vit_relpos_small_patch16_rpn_224", 64, embed_dim=24, depth=3, num_heads=3
    )
    with pytest.raises(ExplainerError, match=r"blocks\.2 does not begin with a normalisation"):
        ViTReciproCam(post_norm)
