"""Partial LRP: relevance of the last block's attention, a baseline of arXiv 2012.09838."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import torch
from torch import Tensor

from ttame.classifiers.transformer_layout import TransformerLayout
from ttame.explainers.contract.explainer import Explained, Explainer
from ttame.explainers.contract.method_card import LINEAR_TARGETS, LRP_LICENCE_NOTE, MethodCard
from ttame.explainers.contract.request import RawMaps, Request, mixing_class_maps
from ttame.explainers.contract.suggested_methods import WITHOUT_ATTENTION
from ttame.explainers.methods.relevance.transformer_attribution import attribution_rules
from ttame.explainers.passes.block_attention import (
    attending_layout,
    head_mean,
    layout_for,
)
from ttame.explainers.relevance.attention_relevance import attention_relevance
from ttame.explainers.relevance.image_chunks import explain_in_chunks
from ttame.explainers.relevance.propagation import check_propagation
from ttame.explainers.relevance.rule_table import RuleTable
from ttame.explainers.relevance.stabilisers import Stabiliser


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PartialLrp(Explainer[Explained]):
    """Relevance that reaches the last block's attention: ``S = (E_h (R^L)⁺)[cls]``.

    ``R^L`` is the relevance of the attention probabilities of the last block L, propagated from 1
    at the class's logit by the rules of :class:`.TransformerAttribution`; ``(·)⁺`` keeps what is
    positive and ``E_h`` is the mean over heads. The row of the class token is read without the
    columns of prefix tokens; for a network that pools otherwise, the rows of all tokens that its
    head reads are averaged. Maps are not negative.

    One forward pass and the relevance pass of one block for each class.

    Deviations: the published baseline leaves residual additions as they are and divides the two
    parts of a linear layer by their own sums, which can double the relevance in every layer.
    ``linear="separate", additions="plain", matrix_products="halved", stabiliser="published"`` does
    so; the defaults conserve relevance.

    Args:
        classifier: a transformer whose blocks attend from every token to every token.
        linear: ``"joint"``: ``z⁺ ⊙ W⁺ᵀ(R/Z) + z⁻ ⊙ W⁻ᵀ(R/Z)`` with ``Z = W⁺z⁺ + W⁻z⁻``; or
            ``"separate"``: ``z⁺ ⊙ W⁺ᵀ(R/W⁺z⁺) + z⁻ ⊙ W⁻ᵀ(R/W⁻z⁻)``.
        additions: ``"normalised"`` by image, or ``"plain"``: ``R_u = u R/(u+v)``.
        matrix_products: ``"normalised"`` by image, or ``"halved"``.
        stabiliser: ``"sign-aware"``, ``a/(b + sign(b)·1e-9)``, or ``"published"``,
            ``a/(b + 1e-9)``; both give 0 where b is 0.

    Raises:
        ExplainerError: the network has no such blocks, or an operation without a rule.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> partial_lrp = PartialLrp(tiny_classifier("vit", size=32))
        >>> partial_lrp(torch.zeros(3, 3, 32, 32), "top2").maps.shape
        torch.Size([3, 2, 2, 2])
    """

    card = MethodCard(
        name="partial_lrp",
        title="Partial LRP",
        family="relevance propagation",
        networks="transformers of one resolution",
        cost="1 forward, a relevance pass of the last block per class",
        paper="baseline in Chefer et al., CVPR 2021, arXiv 2012.09838",
        targets=LINEAR_TARGETS,
        licence_note=LRP_LICENCE_NOTE,
        explains=("images", "texts"),
    )

    linear: Literal["joint", "separate"] = "joint"
    additions: Literal["normalised", "plain"] = "normalised"
    matrix_products: Literal["normalised", "halved"] = "normalised"
    stabiliser: Stabiliser = "sign-aware"
    layout: TransformerLayout = dataclasses.field(init=False, repr=False)
    table: RuleTable = dataclasses.field(init=False, repr=False)
    bytes_per_image: int = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        table = attribution_rules(
            self.method,
            linear=self.linear,
            additions=self.additions,
            matrix_products=self.matrix_products,
            stabiliser=self.stabiliser,
        )
        layout = attending_layout(self.classifier, self.method)
        bytes_per_image = check_propagation(
            self.classifier, table, self.method, WITHOUT_ATTENTION[self.classifier.kind]
        )
        self._keep(table=table, layout=layout, bytes_per_image=bytes_per_image)

    def _decided(self) -> dict[str, Any]:
        return {"pooling": self.layout.pooling}

    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        return mixing_class_maps(images, request, self._maps_of_classes)

    def _maps_of_classes(self, images: Tensor, request: Request) -> RawMaps:
        layout = layout_for(self.classifier, self.layout, images)
        last = len(layout.blocks) - 1

        def explain(images: Tensor, request: Request) -> RawMaps:
            propagated = attention_relevance(
                self.classifier, layout, self.table, images, request.linear_targets, last
            )
            maps = [
                layout.read_out(head_mean(relevance.clamp(min=0), len(images)))
                for (relevance,) in propagated.by_target
            ]
            return RawMaps(propagated.scores, propagated.targets, torch.stack(maps, dim=1))

        return explain_in_chunks(self.classifier, images, request, self.bytes_per_image, explain)
