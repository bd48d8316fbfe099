"""Generic attention: Chefer et al., Generic Attention-model Explainability, ICCV 2021."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from ttame.classifiers.transformer_layout import TransformerLayout
from ttame.explainers.contract.explainer import Explained, Explainer
from ttame.explainers.contract.method_card import EVERY_TARGET, MethodCard
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.passes.block_attention import (
    attending_layout,
    block_number,
    gradients_by_target,
    head_mean,
    layout_for,
    read_block_attention,
    roll_out,
)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class GenericAttention(Explainer[Explained]):
    """Attention weighted by its gradient: ``R ← R + E_h[(∇A^b ⊙ A^b)⁺] R``, ``S = R[cls]``.

    The rule of arXiv 2103.15679 for self-attention: from ``R = I`` through the blocks b = 1 … L.
    ``A^b`` are the attention probabilities of block b, ``∇A^b = ∂f_c/∂A^b`` the gradient of the
    class's logit, ``(·)⁺`` keeps what is positive, ``E_h`` is the mean over heads. Rows are not
    normalised. The row of the class token is read without the columns of prefix tokens; for a
    network that pools otherwise, the rows of all tokens that its head reads are averaged. Maps are
    not negative.

    One forward pass for the batch and one backward pass for each class an image; the published
    code explains one image and one class at a time.

    Args:
        classifier: a transformer whose blocks attend from every token to every token.
        start_block: the first block of the recursion; negative numbers count from the last. All
            blocks in the paper; its author advises the last one or few for CLIP's ViT-B/16.

    Raises:
        ExplainerError: the network has no such blocks, or not so many.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> generic = GenericAttention(
        ...     tiny_classifier("vit", size=32))
        >>> generic(torch.zeros(3, 3, 32, 32), "top2").maps.shape
        torch.Size([3, 2, 2, 2])
    """

    card = MethodCard(
        name="generic_attention",
        title="Generic attention explainability",
        family="attention",
        networks="transformers of one resolution",
        cost="1 forward, 1 backward per class",
        paper="Chefer et al., ICCV 2021, arXiv 2103.15679",
        targets=EVERY_TARGET,
        explains=("images", "texts"),
    )

    start_block: int = 0
    layout: TransformerLayout = dataclasses.field(init=False, repr=False)
    first_block: int = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        layout = attending_layout(self.classifier, self.method, tokens_may_come_first=True)
        first = block_number(self.start_block, layout, self.method, "start_block")
        self._keep(layout=layout, first_block=first)

    def _decided(self) -> dict[str, Any]:
        return {"pooling": self.layout.pooling}

    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        layout = layout_for(self.classifier, self.layout, images)
        read = read_block_attention(self.classifier, layout, images, self.first_block)
        targets = request.targets(read.logits.detach())
        values = targets.of(read.logits)
        maps = []
        for gradients in gradients_by_target(values, read.probabilities):
            steps = [
                positive_product(attention, gradient, len(images))
                for attention, gradient in zip(read.probabilities, gradients, strict=True)
            ]
            maps.append(roll_out([_plus_identity(step) for step in steps], layout))
        return RawMaps(read.logits, targets, torch.stack(maps, dim=1))


def positive_product(attention: Tensor, gradient: Tensor, images: int) -> Tensor:
    """``E_h[(∇A ⊙ A)⁺]``, (B, T, T) float32; the product is formed in float32 too."""
    return head_mean((attention.detach().float() * gradient.float()).relu(), images)


def _plus_identity(matrix: Tensor) -> Tensor:
    return matrix + torch.eye(matrix.shape[-1], device=matrix.device)
