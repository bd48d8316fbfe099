"""Attention rollout: Abnar and Zuidema, Quantifying Attention Flow in Transformers, ACL 2020."""

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
    layout_for,
    read_head_means,
    roll_out,
)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class AttentionRollout(Explainer[Explained]):
    """Attention followed through all blocks: ``Â^b = rownorm(I + E_h A^b)``, ``S = R[cls]``.

    ``A^b`` are the attention probabilities of block b of L, ``E_h`` the mean over its heads, ``I``
    stands for the residual connection, ``rownorm`` makes the rows sum to 1, and
    ``R = Â^L ⋯ Â^1``. The row of the class token is read without the columns of prefix tokens;
    for a network that pools otherwise, the rows of all tokens that its head reads are averaged.
    Values lie in [0, 1]; one map serves all classes.

    Args:
        classifier: a transformer whose blocks attend from every token to every token.
        start_block: the first block of the product; negative numbers count from the last.

    Raises:
        ExplainerError: the network has no such blocks, or not so many.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> rollout = AttentionRollout(
        ...     tiny_classifier("vit", size=32))
        >>> rollout(torch.zeros(3, 3, 32, 32), "top2").maps.shape
        torch.Size([3, 2, 2, 2])
    """

    card = MethodCard(
        name="attention_rollout",
        title="Attention rollout",
        family="attention",
        networks="transformers of one resolution",
        cost="1 forward",
        paper="Abnar and Zuidema, ACL 2020, arXiv 2005.00928",
        targets=EVERY_TARGET,
        class_specific=False,
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
        logits, means = read_head_means(self.classifier, layout, images, self.first_block)
        targets = request.targets(logits)
        maps = roll_out([with_residual(mean) for mean in means], layout)
        return RawMaps(logits, targets, maps[:, None].expand(-1, targets.shape[1], -1, -1))


def with_residual(matrix: Tensor) -> Tensor:
    """``rownorm(I + M)`` for (..., T, T) with entries that are not negative."""
    sum_with_identity = matrix + torch.eye(matrix.shape[-1], device=matrix.device)
    return sum_with_identity / sum_with_identity.sum(dim=-1, keepdim=True)
