"""Attention Grad-CAM, a baseline in Chefer et al., arXiv 2012.09838."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from ttame.classifiers.transformer_layout import TransformerLayout
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.method_card import EVERY_TARGET, MethodCard
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.passes.block_attention import (
    attending_layout,
    block_number,
    gradients_by_target,
    layout_for,
    read_block_attention,
)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class CamAttn(Explainer):
    """Grad-CAM on attention: ``S = (E_h[ w_h a_h ])⁺``, ``w_h = mean_i (∂f_c/∂a_h)_i``.

    ``a_h`` is what the class token attends to in head h of the last block: its row of the
    attention probabilities, on the N patch tokens. ``w_h`` is the mean over these patches of the
    gradient of the class's logit, ``E_h`` the mean over heads: a head counts as channels do in
    Grad-CAM. Columns of prefix tokens (class, distillation, registers) take no part. For a network
    that pools otherwise, where the paper defines nothing, the map of each row that its head reads
    is formed this way and they are averaged before the cut at 0. Maps are (B, K, h, w) on the
    patches' grid, at least 0 if ``rectified``.

    Tables of relevance for transformers call this "Grad-CAM"; :class:`GradCam` on a Vision
    Transformer is another method, whose channels are those of the patch tokens.

    Args:
        classifier: a Vision Transformer whose blocks attend from every token to every token.
        block: the block to read; negative numbers count from the last.
        rectified: whether the map's negative values become 0, as in the paper.

    Raises:
        ExplainerError: the network has no such blocks, or not so many.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> cam_attn = CamAttn(tiny_classifier("vit", size=32))
        >>> cam_attn(torch.zeros(3, 3, 32, 32), "top2").maps.shape
        torch.Size([3, 2, 2, 2])
    """

    card = MethodCard(
        name="cam_attn",
        title="Attention Grad-CAM",
        family="attention",
        networks="Vision Transformers of one resolution",
        cost="1 forward, 1 backward of the last block per class",
        paper="baseline in Chefer et al., CVPR 2021, arXiv 2012.09838",
        targets=EVERY_TARGET,
    )

    block: int = -1
    rectified: bool = True
    layout: TransformerLayout = dataclasses.field(init=False, repr=False)
    number: int = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        layout = attending_layout(self.classifier, self.method)
        self._keep(layout=layout, number=block_number(self.block, layout, self.method))

    def _decided(self) -> dict[str, Any]:
        return {"pooling": self.layout.pooling}

    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        layout = layout_for(self.classifier, self.layout, images)
        read = read_block_attention(self.classifier, layout, images, self.number)
        targets = request.targets(read.logits.detach())
        attention = read.probabilities[0]
        rows = _patch_rows(attention.detach(), layout, len(images))
        maps = []
        for (gradient,) in gradients_by_target(targets.of(read.logits), [attention]):
            weights = _patch_rows(gradient, layout, len(images)).mean(dim=(-2, -1), keepdim=True)
            maps.append((weights * rows).mean(dim=(1, 2)))
        stacked = torch.stack(maps, dim=1)
        return RawMaps(read.logits, targets, stacked.relu() if self.rectified else stacked)


def _patch_rows(matrices: Tensor, layout: TransformerLayout, images: int) -> Tensor:
    """(B, heads, T, T), also folded to (B·heads, T, T), as (B, heads, rows read, h, w) float32."""
    by_head = matrices.reshape(images, -1, *matrices.shape[-2:]).float()
    return layout.patch_map(by_head[:, :, list(layout.read_rows)])
