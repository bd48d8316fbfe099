"""The small Vision Transformer of the golden tensors, and its formulas written out by hand."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.conftest import Golden
from ttame.classifiers.classifier import Classifier
from ttame.images.preprocessing import Preprocessing

HEADS = 3
BLOCKS = 3
GRID = 4


def golden_vit(dtype: torch.dtype = torch.float32) -> Classifier:
    """timm's Vision Transformer with the golden weights: 32 pixels, patches of 8, 10 classes."""
    from timm.models.vision_transformer import VisionTransformer

    network = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=48, depth=BLOCKS, num_heads=HEADS, num_classes=10
    )
    network.load_state_dict(Golden("vit_recipro_cam").under("weights."))
    return Classifier(network.to(dtype), preprocessing=Preprocessing.imagenet(32))


def two_images() -> Tensor:
    golden = Golden("vit_recipro_cam")["input.image"]
    return torch.cat([golden, golden.flip(3) * torch.tensor([1.5, -1.0, 0.7])[None, :, None, None]])


Change = Callable[[int, Tensor], Tensor]
"""Given the number of a block and its (heads, T, T) attention, the attention that is used."""


class PlainVit:
    """The network for one image, written from its description: no module, no batch.

    Args:
        weights: under timm's names, in any floating dtype.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.weights = weights

    def __call__(self, image: Tensor, change: Change | None = None) -> Tensor:
        """The logits (C,) of one (3, H, W) image."""
        tokens = self.embed(image)
        for index in range(BLOCKS):
            tokens = self.block(index, tokens, change)
        return self.classify(tokens[0])

    def embed(self, image: Tensor) -> Tensor:
        """(T, D) tokens with the class token first."""
        weight, bias = (
            self.weights["patch_embed.proj.weight"],
            self.weights["patch_embed.proj.bias"],
        )
        patches = [
            (weight * image[:, y : y + 8, x : x + 8]).sum(dim=(1, 2, 3)) + bias
            for y in range(0, 32, 8)
            for x in range(0, 32, 8)
        ]
        return (
            torch.stack([self.weights["cls_token"][0, 0], *patches]) + self.weights["pos_embed"][0]
        )

    def norm(self, name: str, tokens: Tensor) -> Tensor:
        centred = tokens - tokens.mean(dim=-1, keepdim=True)
        deviation = (centred.pow(2).mean(dim=-1, keepdim=True) + 1e-6).sqrt()
        return centred / deviation * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def linear(self, name: str, tokens: Tensor) -> Tensor:
        return tokens @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def attend(self, index: int, normalised: Tensor, change: Change | None = None) -> Tensor:
        """The output of a block's attention for normalised tokens (T, D)."""
        q, k, v = self.linear(f"blocks.{index}.attn.qkv", normalised).chunk(3, dim=-1)
        q, k, v = (part.reshape(len(part), HEADS, -1).transpose(0, 1) for part in (q, k, v))
        scores = torch.stack([q[h] @ k[h].T for h in range(HEADS)]) / q.shape[-1] ** 0.5
        attention = scores.exp() / scores.exp().sum(dim=-1, keepdim=True)
        if change is not None:
            attention = change(index, attention)
        mixed = torch.cat([attention[h] @ v[h] for h in range(HEADS)], dim=-1)
        return self.linear(f"blocks.{index}.attn.proj", mixed)

    def block(
        self,
        index: int,
        tokens: Tensor,
        change: Change | None = None,
        normalised: Tensor | None = None,
    ) -> Tensor:
        """A block's output; other normalised tokens than the true ones can be given."""
        if normalised is None:
            normalised = self.norm(f"blocks.{index}.norm1", tokens)
        tokens = tokens + self.attend(index, normalised, change)
        hidden = F.gelu(
            self.linear(f"blocks.{index}.mlp.fc1", self.norm(f"blocks.{index}.norm2", tokens))
        )
        return tokens + self.linear(f"blocks.{index}.mlp.fc2", hidden)

    def classify(self, token: Tensor) -> Tensor:
        """The logits of one (D,) token after the last block."""
        return self.linear("head", self.norm("norm", token))

    def attention(self, image: Tensor) -> list[Tensor]:
        """(heads, T, T) of every block."""
        read: list[Tensor] = []

        def keep(_block: int, attention: Tensor) -> Tensor:
            read.append(attention)
            return attention

        self(image, keep)
        return read


def plain_vit(dtype: torch.dtype = torch.float64) -> PlainVit:
    weights = Golden("vit_recipro_cam").under("weights.")
    return PlainVit({name: tensor.to(dtype) for name, tensor in weights.items()})
