"""Copies of a Vision Transformer of timm's that lack attention, or the places of its patches.

What a copy loses beside the whole network is what the network gets from attention, or from
knowing where its patches are.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer


@torch.no_grad()
def with_uniform_attention(network: VisionTransformer) -> VisionTransformer:
    """A copy in which every token attends to all tokens alike.

    Without queries and keys all scores are zero, and their softmax is 1/N.
    """
    changed = copy.deepcopy(network)
    for block in changed.blocks:
        width = block.attn.qkv.in_features
        block.attn.qkv.weight[: 2 * width] = 0
        block.attn.qkv.bias[: 2 * width] = 0
    return changed


def with_uniform_class_attention(network: VisionTransformer) -> VisionTransformer:
    """A copy in which the class token attends to all tokens alike; patches attend as they did.

    Sharper than :func:`with_uniform_attention`: only what the class token picks is lost.
    """
    changed = copy.deepcopy(network)
    for block in changed.blocks:
        block.attn = _UniformClassAttention(block.attn)
    return changed


@torch.no_grad()
def with_permuted_positions(network: VisionTransformer, seed: int = 0) -> VisionTransformer:
    """A copy whose patches are told to be elsewhere, each at the place of another patch.

    Attention does not know the order of its tokens, and the answer is read from the class token
    alone. So this is the same as shuffling the patches after the stem and leaving the position
    embeddings in their places; there is no need to measure that too.
    """
    changed = copy.deepcopy(network)
    places = changed.pos_embed[:, 1:].clone()
    changed.pos_embed[:, 1:] = places[:, patch_order(places.shape[1], seed)]
    return changed


def patch_order(patches: int, seed: int = 0) -> Tensor:
    """(P,) which patch's place each of P patches gets."""
    return torch.randperm(patches, generator=torch.Generator().manual_seed(seed))


class _UniformClassAttention(nn.Module):
    """timm's attention, but for the class token: it gets the mean of all values."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, tokens: Tensor, *arguments: Any, **options: Any) -> Tensor:
        qkv = self.attention.qkv
        values = F.linear(tokens, *(part[2 * qkv.in_features :] for part in (qkv.weight, qkv.bias)))
        of_class = self.attention.proj(values.mean(dim=1, keepdim=True))
        of_patches = self.attention(tokens, *arguments, **options)[:, 1:]
        return torch.cat([of_class, of_patches], dim=1)
