"""The architecture of the bundled transformer: timm's VisionTransformer on a convolutional stem."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer

STEM_STAGES = 5
"""Stages of EfficientNet-Lite0 up to stride 16: 112 channels on a 14x14 grid at 224x224."""

STEM = "patch_embed.backbone"
"""Where the stem lies in the network; below it, names are those of the whole EfficientNet."""


def build_hybrid_vit(
    *, num_classes: int = 1000, embed_dim: int = 256, depth: int = 6, num_heads: int = 4
) -> VisionTransformer:
    """``hybrid_vit_lite0`` with random weights.

    EfficientNet-Lite0 up to stride 16, a 1x1 convolution to tokens (timm's ``HybridEmbed``, as in
    the hybrid networks of Dosovitskiy et al., 2010.11929), a class token, learned position
    embeddings, pre-norm blocks, and a linear head on the class token: 197 tokens at 224x224, the
    geometry of ViT-B/16.

    Args:
        num_classes: C. The options bear timm's names.
        embed_dim: D, channels of a token.
        depth: number of transformer blocks.
        num_heads: attention heads in a block; divides ``embed_dim``.

    Example:
        >>> import torch
        >>> network = build_hybrid_vit(num_classes=10, embed_dim=32, depth=1).eval()
        >>> network.forward_features(torch.zeros(1, 3, 224, 224)).shape
        torch.Size([1, 197, 32])
    """
    import timm
    from timm.layers import HybridEmbed
    from timm.models.vision_transformer import VisionTransformer

    whole = timm.create_model("tf_efficientnet_lite0")
    stem = nn.Sequential()
    # The names are the whole network's, so that its weights fit by name.
    stem.add_module("conv_stem", whole.conv_stem)
    stem.add_module("bn1", whole.bn1)
    stem.add_module("blocks", whole.blocks[:STEM_STAGES])
    return VisionTransformer(
        img_size=224,
        patch_size=1,
        embed_layer=functools.partial(HybridEmbed, backbone=stem),
        num_classes=num_classes,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
    )
