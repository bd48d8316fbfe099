"""Full LRP: layer-wise relevance propagation to the pixels, a baseline of arXiv 2012.09838."""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch
from torch import Tensor

from ttame.classifiers.classifier import Classifier
from ttame.explainers.contract.explainer import Explained, Explainer
from ttame.explainers.contract.method_card import LINEAR_TARGETS, LRP_LICENCE_NOTE, MethodCard
from ttame.explainers.contract.option_checks import check_choice
from ttame.explainers.contract.request import RawMaps, Request, mixing_class_maps
from ttame.explainers.contract.suggested_methods import WITHOUT_RELEVANCE
from ttame.explainers.methods.relevance.transformer_attribution import attribution_rules
from ttame.explainers.relevance.image_chunks import explain_in_chunks
from ttame.explainers.relevance.matches import WEIGHTED, SeesImage
from ttame.explainers.relevance.pixel_relevance import (
    black_of,
    highest_of_image,
    lowest_of_image,
    pixel_relevance,
    white_of,
)
from ttame.explainers.relevance.propagation import check_propagation
from ttame.explainers.relevance.rule_table import RuleTable
from ttame.explainers.relevance.stabilisers import Stabiliser
from ttame.explainers.relevance.token_relevance import token_relevance
from ttame.explainers.relevance.weighted_rules import ZBox
from ttame.features.layer_layouts import token_blocks


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class FullLrp(Explainer[Explained]):
    """Layer-wise relevance propagation from the class's logit to the pixels, summed over colours.

    The rules are those of :class:`.TransformerAttribution` for every layer. The layer that sees
    the image, a patch embedding or a first convolution, follows the z^B rule

    ``R = x ⊙ Wᵀ S − l ⊙ W⁺ᵀ S − h ⊙ W⁻ᵀ S``, ``S = R_out / (W x − W⁺ l − W⁻ h)``

    with the lowest and highest pixel values l and h. Position embeddings and the class token keep
    the relevance that falls to them, so the map of a transformer does not sum to 1. Of a text,
    relevance is that of the tokens as they enter the first block, summed over their width, as
    published: nothing goes back through the sum of words, positions and types.

    For networks of other kinds: pooling by maximum gives all to the winner, averages give to the
    inputs that have the average's sign, batch norm belongs to the convolution before it, the
    products of gates are treated like matrix products, and activations pass relevance on.

    One forward pass and a relevance pass of about four for each class. Maps are signed, in pixels.

    Deviations: see :class:`.PartialLrp` for the published baseline's rules. The published code for
    convolutions divides the two parts by their own sums and squares the variance of batch norm.

    Args:
        classifier: any network of operations that have a rule.
        linear: ``"joint"`` or ``"separate"``, see :class:`.PartialLrp`.
        additions: ``"normalised"`` by image, or ``"plain"``.
        matrix_products: ``"normalised"`` by image, or ``"halved"``.
        stabiliser: ``"sign-aware"`` or ``"published"``, see :class:`.PartialLrp`.
        pixel_limits: l and h: ``"image"``, the smallest and largest value of each image, as
            published, which keeps every share positive for any input; or ``"valid"``, for each
            colour what black and white become by the classifier's preprocessing.

    Raises:
        ExplainerError: the network has an operation without a rule.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> full_lrp = FullLrp(tiny_classifier())
        >>> full_lrp(torch.zeros(2, 3, 16, 16), "top2").maps.shape
        torch.Size([2, 2, 16, 16])
    """

    card = MethodCard(
        name="full_lrp",
        title="Full LRP",
        family="relevance propagation",
        networks="any whose operations have a rule",
        cost="1 forward, 1 relevance pass of about 4 forward per class",
        paper="baseline in Chefer et al., CVPR 2021, arXiv 2012.09838",
        targets=LINEAR_TARGETS,
        map_is="pixels",
        licence_note=LRP_LICENCE_NOTE,
        explains=("images", "texts"),
    )

    linear: Literal["joint", "separate"] = "joint"
    additions: Literal["normalised", "plain"] = "normalised"
    matrix_products: Literal["normalised", "halved"] = "normalised"
    stabiliser: Stabiliser = "sign-aware"
    pixel_limits: Literal["image", "valid"] = "image"
    table: RuleTable = dataclasses.field(init=False, repr=False)
    bytes_per_image: int = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_choice(self.method, "pixel_limits", self.pixel_limits, ("image", "valid"))
        table = attribution_rules(
            self.method,
            linear=self.linear,
            additions=self.additions,
            matrix_products=self.matrix_products,
            stabiliser=self.stabiliser,
        )
        if isinstance(self.classifier, Classifier):
            valid = self.pixel_limits == "valid"
            low = black_of(self.classifier) if valid else lowest_of_image
            high = white_of(self.classifier) if valid else highest_of_image
            table = table.with_first((WEIGHTED & SeesImage(), ZBox(low, high, self.stabiliser)))
        bytes_per_image = check_propagation(
            self.classifier, table, self.method, WITHOUT_RELEVANCE[self.classifier.kind]
        )
        self._keep(table=table, bytes_per_image=bytes_per_image)

    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        return mixing_class_maps(images, request, self._maps_of_classes)

    def _maps_of_classes(self, images: Tensor, request: Request) -> RawMaps:
        blocks = token_blocks(self.classifier.trace) if self.classifier.is_embedded else None

        def explain(images: Tensor, request: Request) -> RawMaps:
            if blocks is not None:
                propagated = token_relevance(
                    self.classifier,
                    blocks.blocks[0].name,
                    self.table,
                    images,
                    request.linear_targets,
                )
                maps = [relevance.sum(dim=2)[:, None] for relevance in propagated.by_target]
            else:
                propagated = pixel_relevance(
                    self.classifier, self.table, images, request.linear_targets
                )
                maps = [relevance.sum(dim=1) for relevance in propagated.by_target]
            return RawMaps(propagated.scores, propagated.targets, torch.stack(maps, dim=1))

        return explain_in_chunks(self.classifier, images, request, self.bytes_per_image, explain)
