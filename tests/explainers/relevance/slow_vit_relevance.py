"""Relevance of the golden Vision Transformer, layer by layer, from the formulas of METHODS.

One image, no batch, no graph: what goes into every layer is written down in a forward pass, and
the way back names every layer in its order.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.plain_vit import BLOCKS, HEADS, PlainVit, plain_vit

Shares = tuple[Tensor, Tensor]


@dataclasses.dataclass(frozen=True)
class SlowRules:
    """The rules by their options' names; every sum runs over one image."""

    linear: str = "joint"
    additions: str = "normalised"
    matrix_products: str = "normalised"
    stabiliser: str = "sign-aware"

    def divide(self, above: Tensor, below: Tensor) -> Tensor:
        offset = below.sign() if self.stabiliser == "sign-aware" else torch.ones_like(below)
        quotient = above / (below + 1e-9 * offset)
        quotient[below == 0] = 0
        return quotient

    def through_linear(self, relevance: Tensor, values: Tensor, weight: Tensor) -> Tensor:
        """(T, in) from (T, out): values (T, in), weight (out, in)."""
        positive, negative = values.clamp(min=0), values.clamp(max=0)
        w_positive, w_negative = weight.clamp(min=0), weight.clamp(max=0)
        z_positive, z_negative = positive @ w_positive.T, negative @ w_negative.T
        if self.linear == "joint":
            z_positive = z_negative = z_positive + z_negative
        return positive * (self.divide(relevance, z_positive) @ w_positive) + negative * (
            self.divide(relevance, z_negative) @ w_negative
        )

    def through_sum(self, relevance: Tensor, left: Tensor, right: Tensor) -> Shares:
        quotient = self.divide(relevance, left + right)
        shares = left * quotient, right * quotient
        return shares if self.additions == "plain" else self.normalised(*shares, relevance)

    def through_product(self, relevance: Tensor, left: Tensor, right: Tensor) -> Shares:
        """Of ``left @ right``: (heads, T, S) and (heads, S, d)."""
        quotient = self.divide(relevance, left @ right)
        of_left, of_right = left * (quotient @ right.mT), right * (left.mT @ quotient)
        if self.matrix_products == "halved":
            return of_left / 2, of_right / 2
        return self.normalised(of_left, of_right, relevance)

    def normalised(self, left: Tensor, right: Tensor, relevance: Tensor) -> Shares:
        total = relevance.sum()
        magnitude = left.sum().abs() + right.sum().abs()

        def scaled(part: Tensor) -> Tensor:
            goal = self.divide(part.sum().abs(), magnitude) * total
            return part * self.divide(goal, part.sum())

        return scaled(left), scaled(right)


@dataclasses.dataclass
class SlowRelevance:
    """What arrives where: attention (heads, T, T) and tokens (T, D) by block, pixels (H, W)."""

    attention: dict[int, Tensor]
    tokens: dict[int, Tensor]
    pixels: Tensor


@dataclasses.dataclass(frozen=True)
class _Seen:
    """What one block computes on the way forward."""

    tokens: Tensor
    normalised: Tensor
    query: Tensor
    key: Tensor
    value: Tensor
    attention: Tensor
    mixed: Tensor
    attended: Tensor
    middle: Tensor
    normalised_again: Tensor
    hidden: Tensor
    activated: Tensor
    out: Tensor


Limits = Callable[[Tensor], tuple[Tensor, Tensor]]


def image_extremes(image: Tensor) -> tuple[Tensor, Tensor]:
    return torch.full_like(image, float(image.min())), torch.full_like(image, float(image.max()))


def slow_relevance(
    image: Tensor, label: int, rules: SlowRules, limits: Limits = image_extremes
) -> SlowRelevance:
    """Relevance of a class of one (3, 32, 32) float64 image, from 1 at the logit to the pixels."""
    vit = plain_vit()
    blocks: list[_Seen] = []
    tokens = vit.embed(image)
    for index in range(BLOCKS):
        blocks.append(_forward(vit, index, tokens))
        tokens = blocks[-1].out

    start = torch.zeros(1, 10, dtype=torch.float64)
    start[0, label] = 1
    pooled = vit.norm("norm", tokens[:1])
    relevance = torch.zeros_like(tokens)
    relevance[0] = rules.through_linear(start, pooled, vit.weights["head.weight"])[0]

    attention, of_tokens = {}, {}
    for index in reversed(range(BLOCKS)):
        relevance, attention[index] = _back(vit, index, blocks[index], relevance, rules)
        of_tokens[index] = relevance
    position = vit.weights["pos_embed"][0]
    relevance, _ = rules.through_sum(relevance, blocks[0].tokens - position, position)
    pixels = _to_pixels(vit, image, relevance[1:], limits)
    return SlowRelevance(attention, of_tokens, pixels)


def _forward(vit: PlainVit, index: int, tokens: Tensor) -> _Seen:
    name = f"blocks.{index}"
    normalised = vit.norm(f"{name}.norm1", tokens)
    query, key, value = (
        part.reshape(len(part), HEADS, -1).transpose(0, 1)
        for part in vit.linear(f"{name}.attn.qkv", normalised).chunk(3, dim=-1)
    )
    query = query / query.shape[-1] ** 0.5
    attention = (query @ key.mT).softmax(dim=-1)
    mixed = (attention @ value).transpose(0, 1).flatten(1)
    attended = vit.linear(f"{name}.attn.proj", mixed)
    middle = tokens + attended
    normalised_again = vit.norm(f"{name}.norm2", middle)
    hidden = vit.linear(f"{name}.mlp.fc1", normalised_again)
    out = vit.linear(f"{name}.mlp.fc2", F.gelu(hidden))
    return _Seen(
        tokens, normalised, query, key, value, attention, mixed, attended, middle,
        normalised_again, hidden, F.gelu(hidden), middle + out,
    )  # fmt: skip


def _back(
    vit: PlainVit, index: int, seen: _Seen, relevance: Tensor, rules: SlowRules
) -> tuple[Tensor, Tensor]:
    """Relevances of a block's input and of its attention from that of its output."""

    def weight(name: str) -> Tensor:
        return vit.weights[f"blocks.{index}.{name}.weight"]

    skipped, branch = rules.through_sum(relevance, seen.middle, seen.out - seen.middle)
    branch = rules.through_linear(branch, seen.activated, weight("mlp.fc2"))
    branch = rules.through_linear(branch, seen.normalised_again, weight("mlp.fc1"))
    skipped, branch = rules.through_sum(skipped + branch, seen.tokens, seen.attended)
    branch = rules.through_linear(branch, seen.mixed, weight("attn.proj"))
    by_head = branch.reshape(len(branch), HEADS, -1).transpose(0, 1)
    of_attention, of_value = rules.through_product(by_head, seen.attention, seen.value)
    of_query, of_key = rules.through_product(of_attention, seen.query, seen.key.mT)
    parts = [of_query, of_key.mT, of_value]
    joined = torch.cat([part.transpose(0, 1).flatten(1) for part in parts], dim=-1)
    branch = rules.through_linear(joined, seen.normalised, weight("attn.qkv"))
    return skipped + branch, of_attention


def _to_pixels(vit: PlainVit, image: Tensor, relevance: Tensor, limits: Limits) -> Tensor:
    """The z^B rule, patch by patch: (H, W) from (patches, D)."""
    weight = vit.weights["patch_embed.proj.weight"]
    positive, negative = weight.clamp(min=0), weight.clamp(max=0)
    lowest, highest = limits(image)
    pixels = torch.zeros_like(image)
    corners = [(y, x) for y in range(0, 32, 8) for x in range(0, 32, 8)]
    for (y, x), of_patch in zip(corners, relevance, strict=True):
        here = (slice(None), slice(y, y + 8), slice(x, x + 8))
        shares = weight * image[here] - positive * lowest[here] - negative * highest[here]
        pixels[here] = torch.einsum("d,dcyx->cyx", of_patch / shares.sum(dim=(1, 2, 3)), shares)
    return pixels.sum(dim=0)
