"""Raw attention of the last block, a baseline in Chefer et al., arXiv 2012.09838."""

from __future__ import annotations

import dataclasses
from typing import Any

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
)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class RawAttention(Explainer[Explained]):
    """What the class token attends to: ``S = (E_h A^L)[cls]``.

    ``A^L`` are the attention probabilities of the last of L blocks, ``E_h`` the mean over its
    heads. The row of the class token is read without the columns of prefix tokens (class,
    distillation, registers). For a network that pools otherwise, where the papers define nothing,
    the rows of all tokens that its head reads are averaged. Values lie in [0, 1]; one map serves
    all classes.

    Args:
        classifier: a transformer whose blocks attend from every token to every token.
        block: the block to read; negative numbers count from the last.

    Raises:
        ExplainerError: the network has no such blocks, or not so many.

    Example:
        >>> import torch
        >>> from ttame.testing import tiny_classifier
        >>> attention = RawAttention(tiny_classifier("vit", size=32))
        >>> attention(torch.zeros(3, 3, 32, 32), "top2").maps.shape
        torch.Size([3, 2, 2, 2])
    """

    card = MethodCard(
        name="raw_attention",
        title="Raw attention",
        family="attention",
        networks="transformers of one resolution",
        cost="1 forward",
        paper="baseline in Chefer et al., CVPR 2021, arXiv 2012.09838",
        targets=EVERY_TARGET,
        class_specific=False,
        explains=("images", "texts"),
    )

    block: int = -1
    layout: TransformerLayout = dataclasses.field(init=False, repr=False)
    number: int = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        layout = attending_layout(self.classifier, self.method, tokens_may_come_first=True)
        self._keep(layout=layout, number=block_number(self.block, layout, self.method))

    def _decided(self) -> dict[str, Any]:
        return {"pooling": self.layout.pooling}

    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        layout = layout_for(self.classifier, self.layout, images)
        logits, means = read_head_means(self.classifier, layout, images, self.number)
        targets = request.targets(logits)
        maps = layout.read_out(means[0])
        return RawMaps(logits, targets, maps[:, None].expand(-1, targets.shape[1], -1, -1))
