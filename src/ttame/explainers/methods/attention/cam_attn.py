"""Attention Grad-CAM, a baseline in Chefer et al., arXiv 2012.09838."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import torch
from torch import Tensor

from ttame.classifiers.transformer_layout import TransformerLayout
from ttame.explainers.contract.explainer import Explained, Explainer
from ttame.explainers.contract.method_card import EVERY_TARGET, MethodCard
from ttame.explainers.contract.option_checks import check_choice
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.passes.block_attention import (
    attending_layout,
    block_number,
    gradients_by_target,
    layout_for,
    read_block_attention,
)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class CamAttn(Explainer[Explained]):
    """Grad-CAM on attention: ``S = (E_h[ w_h a_h ])⁺``, ``w_h = mean_i (∂f_c/∂a_h)_i``.

    ``a_h`` is what the class token attends to in head h of the last block: its row of the
    attention probabilities, on the N patch tokens. ``w_h`` is the mean over these patches of the
    gradient of the class's logit, ``E_h`` the mean over heads: a head counts as channels do in
    Grad-CAM. Columns of prefix tokens (class, distillation, registers) take no part. For a network
    that pools otherwise, where the paper defines nothing, the map of each row that its head reads
    is formed this way and they are averaged before the cut at 0. Maps are (B, K, h, w) on the
    patches' grid, at least 0 if ``rectified``. The published code for texts takes the mean over the
    whole matrix, of which only the row of the class token is not zero: the same map, divided by
    the number of tokens. It then scales the whole matrix from 0 to 1, and so does not say how
    strong a map is; here maps are as the formula gives them.

    Tables of relevance for transformers call this "Grad-CAM"; :class:`GradCam` on a Vision
    Transformer is another method, whose channels are those of the patch tokens.

    Args:
        classifier: a transformer whose blocks attend from every token to every token.
        block: the block to read; negative numbers count from the last.
        rectified: whether the map's negative values become 0, as in the paper.
        padding: of texts: whether columns of padding are ``"left out"`` of the mean of the
            gradient, so that a text has the same map in every batch, or ``"counted"``, as
            published.

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
        networks="transformers of one resolution",
        cost="1 forward, 1 backward of the last block per class",
        paper="baseline in Chefer et al., CVPR 2021, arXiv 2012.09838",
        targets=EVERY_TARGET,
        explains=("images", "texts"),
    )

    block: int = -1
    rectified: bool = True
    padding: Literal["left out", "counted"] = "left out"
    layout: TransformerLayout = dataclasses.field(init=False, repr=False)
    number: int = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_choice(self.method, "padding", self.padding, ("left out", "counted"))
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
        counted = self._counted(images, rows)
        maps = []
        for (gradient,) in gradients_by_target(targets.of(read.logits), [attention]):
            slopes = _patch_rows(gradient, layout, len(images))
            if counted is None:
                weights = slopes.mean(dim=(-2, -1), keepdim=True)
            else:
                weights = (slopes * counted).sum(dim=(-2, -1), keepdim=True)
            maps.append(_read(weights * rows, layout))
        stacked = torch.stack(maps, dim=1)
        return RawMaps(read.logits, targets, stacked.relu() if self.rectified else stacked)

    def _counted(self, images: Tensor, rows: Tensor) -> Tensor | None:
        """The shares of columns in the mean of the gradient, where texts are padded."""
        present = self.classifier.present(images) if self.padding == "left out" else None
        if present is None:
            return None
        shares = present.float() / present.sum(dim=1, keepdim=True)
        return shares[:, None, None, None].to(rows)


def _read(weighted: Tensor, layout: TransformerLayout) -> Tensor:
    """(B, heads, rows read, h, w) of heads and rows, on average: (B, h, w)."""
    if layout.shares is None:
        return weighted.mean(dim=(1, 2))
    shares = layout.shares.to(weighted)
    return torch.einsum("br,bnrhw->bhw", shares, weighted) / weighted.shape[1]


def _patch_rows(matrices: Tensor, layout: TransformerLayout, images: int) -> Tensor:
    """(B, heads, T, T), also folded to (B·heads, T, T), as (B, heads, rows read, h, w) float32."""
    by_head = matrices.reshape(images, -1, *matrices.shape[-2:]).float()
    return layout.patch_map(by_head[:, :, list(layout.read_rows)])
