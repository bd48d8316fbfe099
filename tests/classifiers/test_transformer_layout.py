from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.tiny_networks import TINY, tiny_timm
from ttame.classifiers.transformer_layout import (
    TransformerLayout,
    replace_first_tensor,
    transformer_layout,
)
from ttame.errors import TapError

SIZES = {"embed_dim": 24, "depth": 3, "num_heads": 3}


def layout_of(name: str, size: int = 64) -> TransformerLayout:
    classifier = TINY[name]() if name in TINY else tiny_timm(name, size, **SIZES)
    layout = transformer_layout(classifier)
    assert layout is not None
    return layout


@pytest.mark.parametrize(
    ("name", "blocks", "first_norm", "grid", "prefix", "rows", "pooling"),
    [
        ("timm vit", "blocks.3", "blocks.3.norm1", (4, 4), 1, (0,), "class token"),
        ("timm vit, distilled", "blocks.1", "blocks.1.norm1", (4, 4), 2, (0, 1), "prefix tokens"),
        ("timm vit, registers", "blocks.1", "blocks.1.norm1", (4, 4), 5, (0,), "class token"),
        ("timm vit, patches pooled", "blocks.1", "blocks.1.norm1", (4, 4), 0, tuple(range(16)),
         "patch tokens"),
        ("torchvision vit", "encoder.layers.encoder_layer_2", "encoder.layers.encoder_layer_2.ln_1",
         (4, 4), 1, (0,), "class token"),
        ("transformers vit", "vit.layers.2", "vit.layers.2.layernorm_before", (3, 4), 1, (0,),
         "class token"),
        ("vit_base_patch16_siglip_224", "blocks.2", "blocks.2.norm1", (4, 4), 0, tuple(range(16)),
         "patch tokens"),
        ("beit_base_patch16_224", "blocks.2", "blocks.2.norm1", (4, 4), 1, tuple(range(1, 17)),
         "patch tokens"),
        ("vit_relpos_small_patch16_rpn_224", "blocks.2", None, (4, 4), 0, tuple(range(16)),
         "patch tokens"),
    ],
)  # fmt: skip
def test_layouts(name: str, blocks: str, first_norm: str | None, grid: Any, prefix: int, rows: Any,
                 pooling: str) -> None:  # fmt: skip
    layout = layout_of(name)
    assert layout.blocks[-1] == blocks
    assert layout.first_norms[-1] == first_norm
    assert (layout.tokens.grid, layout.tokens.prefix_tokens) == (grid, prefix)
    assert (layout.read_rows, layout.pooling) == (rows, pooling)
    assert layout.number_of_tokens == prefix + grid[0] * grid[1]
    assert layout.rows_for_head == (prefix if max(rows) < prefix else layout.number_of_tokens)


@pytest.mark.parametrize("name", ["cnn", "timm resnet", "timm swin"])
def test_other_networks_have_none(name: str) -> None:
    assert transformer_layout(TINY[name]()) is None


def test_read_out() -> None:
    layout = layout_of("timm vit, distilled")
    matrix = torch.arange(18.0 * 18).reshape(1, 18, 18)
    expected = (matrix[0, 0, 2:] + matrix[0, 1, 2:]).reshape(1, 4, 4) / 2
    assert torch.equal(layout.read_out(matrix), expected)
    assert torch.equal(layout.patch_map(torch.arange(18.0))[0], torch.tensor([2.0, 3, 4, 5]))


def test_a_head_that_is_zero_is_still_read() -> None:
    """New torchvision networks have one; its gradient is 0 everywhere."""
    classifier = TINY["torchvision vit"]()
    torch.nn.init.zeros_(classifier.network.heads[-1].weight)  # type: ignore[index,union-attr]
    layout = transformer_layout(classifier)
    assert layout is not None
    assert layout.read_rows == (0,)


def test_other_image_sizes() -> None:
    layout = layout_of("timm vit, distilled")
    assert layout.at((64, 64), 18) is layout
    wide = layout.at((48, 96), 2 + 3 * 6)
    assert (wide.tokens.grid, wide.read_rows, wide.tokens.image_size) == ((3, 6), (0, 1), (48, 96))
    pooled = layout_of("timm vit, patches pooled").at((48, 96), 18)
    assert pooled.read_rows == tuple(range(18))
    assert pooled.pooling == "patch tokens"
    with pytest.raises(TapError, match="17 patch tokens for a 48x96 image"):
        layout.at((48, 96), 19)


def test_exchanging_tokens_among_arguments() -> None:
    old, new = torch.zeros(1), torch.ones(1)
    assert replace_first_tensor((1, old, old), {"mask": old}, new) == ((1, new, old), {"mask": old})
    assert replace_first_tensor((), {"tokens": old}, new) == ((), {"tokens": new})
    with pytest.raises(TapError, match="without tokens"):
        replace_first_tensor((1,), {"flag": True}, new)
