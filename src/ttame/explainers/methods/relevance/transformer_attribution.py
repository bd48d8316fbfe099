"""Transformer Attribution: Chefer et al., Transformer Interpretability Beyond Attention."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from ttame.classifiers.any_classifier import Kind
from ttame.classifiers.transformer_layout import TransformerLayout
from ttame.explainers.contract.explainer import Explained, Explainer
from ttame.explainers.contract.method_card import LINEAR_TARGETS, LRP_LICENCE_NOTE, MethodCard
from ttame.explainers.contract.option_checks import check_choice
from ttame.explainers.contract.request import RawMaps, Request, mixing_class_maps
from ttame.explainers.contract.suggested_methods import WITHOUT_ATTENTION
from ttame.explainers.passes.block_attention import (
    attending_layout,
    block_number,
    gradients_by_target,
    layout_for,
    read_block_attention,
)
from ttame.explainers.relevance.attention_relevance import attention_relevance
from ttame.explainers.relevance.conserving_table import conserving_table
from ttame.explainers.relevance.image_chunks import explain_in_chunks
from ttame.explainers.relevance.operation_rules import Product, Sum
from ttame.explainers.relevance.propagation import check_propagation
from ttame.explainers.relevance.rule_table import RuleTable
from ttame.explainers.relevance.stabilisers import DIVISIONS, Stabiliser
from ttame.explainers.relevance.weighted_rules import ZPlus

_FIRST_BLOCK: dict[Kind, int] = {"images": 1, "texts": 0}
"""As published for images, and all blocks of texts."""

_ROWS: dict[Kind, str] = {"images": "plain", "texts": "normalised"}
"""As published for each."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TransformerAttribution(Explainer[Explained]):
    """Relevance and gradient of attention, rolled out: ``S = (Ā^L ⋯ Ā^s)[cls]``.

    ``Ā^b = I + E_h[(∇A^b ⊙ R^b)⁺]``: ``A^b`` are the attention probabilities of block b, ``∇A^b``
    the gradient of the class's logit with respect to them, ``R^b`` their relevance, ``(·)⁺`` keeps
    what is positive, ``E_h`` is the mean over heads. Rows are not normalised for images, and
    divided by their sums for texts, as published. The row of the class token is read without the
    columns of prefix tokens; for a network that pools otherwise, the rows of all tokens that its
    head reads are averaged. What the identities alone give is left out: to every patch alike, or
    to the class token of a text. Maps are not negative.

    Relevance starts as 1 at the class's logit and goes backwards through the network's own modules:

    - linear layers: ``R_in = z⁺ ⊙ W⁺ᵀ(R/Z) + z⁻ ⊙ W⁻ᵀ(R/Z)``, ``Z = W⁺z⁺ + W⁻z⁻``, the bias
      ignored (α = 1);
    - residual additions: ``R_u = u R/(u+v)``, then scaled so that the sums over each image are
      ``|ΣR_u|/(|ΣR_u|+|ΣR_v|)`` and the rest of ``ΣR``;
    - matrix products Q·Kᵀ and A·V: ``R_A = A ⊙ ∂Z/∂A (R/Z)``, likewise for the other factor, then
      normalised as additions are, or halved;
    - GELU, softmax, normalisation, layer scale and dropout pass relevance on.

    What the paper does not meet is treated alike: the products of gates as matrix products, and
    mean pooling gives its relevance to the tokens that have the mean's sign.

    Cost: a forward and a backward pass for the gradients, then a forward pass and a relevance pass
    of about four. Further classes share the forward passes. Blocks before ``start_block`` are not
    walked through. Large batches are cut by the memory budget.

    Deviations: the published code explains one image per call, because its sums run over the batch,
    and needs its own re-implementation of the network; its division adds ``1e-9`` also to negative
    numbers, which brings them nearer to zero. ``matrix_products="halved"`` and
    ``stabiliser="published"`` give its numbers.

    Args:
        classifier: a transformer whose blocks attend from every token to every token.
        start_block: s, counted from 0; negative numbers count from the last. The published
            evaluations of images start at 1, the default here unless there is only one block; the
            published notebooks at 0. For texts all blocks count by default; the published
            benchmark with BERT-base starts at 11, its last block, which is -1 here.
        rows: ``"plain"`` or ``"normalised"``: whether rows of ``Ā^b`` are divided by their sums;
            as published for images and for texts if not given.
        matrix_products: ``"normalised"``, the paper's, or ``"halved"``, the published code's. The
            two factors of a product have equal relevance before, so the two differ only by what a
            stabiliser takes.
        stabiliser: ``"sign-aware"``, ``a/(b + sign(b)·1e-9)``, or ``"published"``,
            ``a/(b + 1e-9)``; both give 0 where b is 0.

    Raises:
        ExplainerError: the network has no such blocks, or an operation without a rule.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> attribution = TransformerAttribution(
        ...     tiny_classifier("vit", size=32))
        >>> attribution(torch.zeros(3, 3, 32, 32), "top2").maps.shape
        torch.Size([3, 2, 2, 2])
    """

    card = MethodCard(
        name="transformer_attribution",
        title="Transformer Attribution",
        family="relevance propagation",
        networks="transformers of one resolution",
        cost="2 forward, 1 backward and 1 relevance pass per class; about 8 forward for one class",
        paper="Chefer et al., CVPR 2021, arXiv 2012.09838",
        targets=LINEAR_TARGETS,
        licence_note=LRP_LICENCE_NOTE,
        explains=("images", "texts"),
    )

    start_block: int | None = None
    rows: Literal["plain", "normalised"] | None = None
    matrix_products: Literal["normalised", "halved"] = "normalised"
    stabiliser: Stabiliser = "sign-aware"
    layout: TransformerLayout = dataclasses.field(init=False, repr=False)
    table: RuleTable = dataclasses.field(init=False, repr=False)
    bytes_per_image: int = dataclasses.field(init=False, repr=False)
    first_block: int = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        table = attribution_rules(
            self.method, matrix_products=self.matrix_products, stabiliser=self.stabiliser
        )
        check_choice(self.method, "rows", self._rows, ("plain", "normalised"))
        layout = attending_layout(self.classifier, self.method)
        self._keep(table=table, layout=layout)
        first = block_number(self._start_block, layout, self.method, "start_block")
        bytes_per_image = check_propagation(
            self.classifier, table, self.method, WITHOUT_ATTENTION[self.classifier.kind]
        )
        self._keep(first_block=first, bytes_per_image=bytes_per_image)

    def _decided(self) -> dict[str, Any]:
        decided = {"start_block": self._start_block, "pooling": self.layout.pooling}
        return {**decided, "rows": self._rows}

    @property
    def _start_block(self) -> int:
        """As published for images, and all blocks of texts, where nothing was said."""
        if self.start_block is not None:
            return self.start_block
        return min(_FIRST_BLOCK[self.classifier.kind], len(self.layout.blocks) - 1)

    @property
    def _rows(self) -> str:
        """As published for each kind where nothing was said."""
        if self.rows is not None:
            return self.rows
        return _ROWS[self.classifier.kind]

    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        return mixing_class_maps(images, request, self._maps_of_classes)

    def _maps_of_classes(self, images: Tensor, request: Request) -> RawMaps:
        return explain_in_chunks(
            self.classifier, images, request, self.bytes_per_image, self._maps_of_chunk
        )

    def _maps_of_chunk(self, images: Tensor, request: Request) -> RawMaps:
        layout = layout_for(self.classifier, self.layout, images)
        read = read_block_attention(self.classifier, layout, images, self.first_block)
        logits = read.logits.detach()
        targets = request.linear_targets(logits)
        gradients = list(gradients_by_target(targets.of(read.logits), read.probabilities))
        del read  # its graph makes room for that of the relevances
        propagated = attention_relevance(
            self.classifier, layout, self.table, images, lambda _scores: targets, self.first_block
        )
        maps = [
            _rolled_out(
                [_positive_product(*pair) for pair in zip(of_target, relevance, strict=True)],
                layout,
                normalised=self._rows == "normalised",
            )
            for of_target, relevance in zip(gradients, propagated.by_target, strict=True)
        ]
        return RawMaps(logits, targets, torch.stack(maps, dim=1))


def attribution_rules(
    method: str,
    *,
    linear: Literal["joint", "separate"] = "joint",
    additions: Literal["normalised", "plain"] = "normalised",
    matrix_products: Literal["normalised", "halved"] = "normalised",
    stabiliser: Stabiliser = "sign-aware",
) -> RuleTable:
    """The table of rules that :class:`TransformerAttribution` and its baselines share.

    Args:
        method: for the error message.
        linear: see :class:`.PartialLrp`.
        additions: likewise.
        matrix_products: likewise.
        stabiliser: likewise.

    Raises:
        ExplainerError: an option has another value.

    Example:
        >>> print(attribution_rules("full_lrp", additions="plain").in_words())
        Operation('linear', 'convolution', 'matrix product with a constant'): \
ZPlus(parts='joint', stabiliser='sign-aware')
        Operation('add', 'subtract'): Sum(shares='plain', stabiliser='sign-aware')
        Operation('matrix product', 'multiply'): \
Product(shares='normalised', stabiliser='sign-aware')
        Operation('average'): SameSign(stabiliser='sign-aware')
        Operation('softmax', 'normalisation', 'activation', 'batch norm', 'divide'): Pass()
    """
    check_choice(method, "linear", linear, ("joint", "separate"))
    check_choice(method, "additions", additions, ("normalised", "plain"))
    check_choice(method, "matrix_products", matrix_products, ("normalised", "halved"))
    check_choice(method, "stabiliser", stabiliser, tuple(DIVISIONS))
    return conserving_table(
        ZPlus(linear, stabiliser),
        Sum(additions, stabiliser),
        Product(matrix_products, stabiliser),
        stabiliser,
    )


def _positive_product(gradient: Tensor, relevance: Tensor) -> Tensor:
    """``E_h[(∇A ⊙ R)⁺]``, (B, T, T)."""
    product = gradient.reshape(relevance.shape).to(relevance.dtype) * relevance
    return product.clamp_(min=0).mean(dim=1)


def _rolled_out(
    products: Sequence[Tensor], layout: TransformerLayout, *, normalised: bool
) -> Tensor:
    """The rows that the head reads of ``(I + M^L) ⋯ (I + M^s)``, on average, as a map.

    Without what the identities alone give, which is the same for every patch, or all for the class
    token. Adding it would round away relevances, which are often a millionth of it.

    Args:
        products: ``M^b``, (B, T, T), from the first block to the last.
        layout: at the images' size.
        normalised: whether the rows of each ``I + M^b`` are divided by their sums.

    Returns:
        (B, h, w).
    """
    start = layout.start(products[0])
    gained = torch.zeros_like(products[0][:, :1])
    for product in reversed(products):
        if normalised:
            sums = 1 + product.sum(dim=-1)[:, None]
            start, gained = start / sums, gained / sums
        gained = gained + (start + gained) @ product
    return layout.patch_map(gained[:, 0])
