"""LRP: Bach et al., On Pixel-Wise Explanations, with a table of rules of one's choice."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import torch
from torch import Tensor

from ttame.errors import ExplainerError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.method_card import LINEAR_TARGETS, LRP_LICENCE_NOTE, MethodCard
from ttame.explainers.contract.option_checks import check_choice
from ttame.explainers.contract.request import RawMaps, Request, mixing_class_maps
from ttame.explainers.relevance.image_chunks import explain_in_chunks
from ttame.explainers.relevance.pixel_relevance import pixel_relevance
from ttame.explainers.relevance.propagation import check_propagation
from ttame.explainers.relevance.rule_presets import RULE_PRESETS, rule_table
from ttame.explainers.relevance.rule_table import RuleTable


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Lrp(Explainer):
    """Relevance of the pixels by a table of rules: ``S = Σ_colours R``.

    Relevance R starts as the class's logit ``f_c`` and goes back through the network: each
    operation gives that of its output to its inputs by the first rule of the table that matches it.
    With ``rules="epsilon"`` it is input × gradient where activations are ReLU; other rules suppress
    what is noisy in that. Maps are signed, in pixels.

    One forward pass and a relevance pass of about four for each class.

    The presets are for convolutional networks, as in Kohlbrenner et al., Towards Best Practice in
    Explaining Neural Network Decisions with LRP, 2020. For transformers they treat attention
    probabilities and the deviations of layer norms as constants: Ali et al., ICML 2022. Batch norm
    belongs to the convolution before it.

    Args:
        classifier: any network of operations that have a rule.
        rules: the name of a table: ``"epsilon"``, ``"epsilon_plus"``, ``"epsilon_plus_flat"``,
            ``"epsilon_alpha2_beta1"``, ``"epsilon_alpha2_beta1_flat"`` or
            ``"epsilon_gamma_box"``; or, in Python, a
            :class:`ttame.explainers.relevance.rule_table.RuleTable`.
        start: ``"logit"``, or ``"one"``: relevance starts as 1, and is a share of the logit. For
            tables which, like the z⁺ rule in the last layer, only ask what raises an output; with
            the others a negative logit would turn the sign of its map.

    Raises:
        ExplainerError: the network has an operation without a rule; the message names it, its layer
            and what to add.
        UnknownNameError: no table of that name.

    Example:
        >>> from ttame.explainers.relevance.matches import LayerName
        >>> from ttame.explainers.relevance.rule_presets import rule_table
        >>> from ttame.explainers.relevance.weighted_rules import WSquare
        >>> from ttame.testing import tiny_classifier
        >>> classifier = tiny_classifier()
        >>> rules = rule_table("epsilon_plus", classifier).with_first((LayerName("0"), WSquare()))
        >>> Lrp(classifier, rules=rules)(torch.zeros(2, 3, 16, 16), "top2").maps.shape
        torch.Size([2, 2, 16, 16])
    """

    card = MethodCard(
        name="lrp",
        title="LRP",
        family="relevance propagation",
        networks="any whose operations have a rule",
        cost="1 forward, 1 relevance pass of about 4 forward per class",
        paper="Bach et al., PLoS ONE 2015",
        targets=LINEAR_TARGETS,
        map_is="pixels",
        licence_note=LRP_LICENCE_NOTE,
    )

    rules: str | RuleTable = "epsilon_plus"
    start: Literal["logit", "one"] = "logit"
    table: RuleTable = dataclasses.field(init=False, repr=False)
    bytes_per_image: int = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_choice(self.method, "start", self.start, ("logit", "one"))
        if not isinstance(self.rules, str | RuleTable):
            raise ExplainerError(
                f"rules={self.rules!r} for {self.method}",
                allowed=f"{', '.join(RULE_PRESETS)}, or a RuleTable",
            )
        table = (
            rule_table(self.rules, self.classifier) if isinstance(self.rules, str) else self.rules
        )
        if table.carries == "gradient" and self.start == "one":
            raise ExplainerError(
                f"start='one' for {self.method} with rules that carry gradients",
                allowed="start='logit': input times gradient sums to the logit",
            )
        bytes_per_image = check_propagation(self.classifier, table, self.method)
        self._keep(table=table, bytes_per_image=bytes_per_image)

    def _decided(self) -> dict[str, Any]:
        return {} if isinstance(self.rules, str) else {"rules": self.rules.in_words()}

    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        if not self.table.is_linear:
            return mixing_class_maps(images, request, self._maps_of_batch)
        return self._maps_of_batch(images, request)

    def _maps_of_batch(self, images: Tensor, request: Request) -> RawMaps:
        return explain_in_chunks(
            self.classifier, images, request, self.bytes_per_image, self._maps_of_chunk
        )

    def _maps_of_chunk(self, images: Tensor, request: Request) -> RawMaps:
        gradients = self.table.carries == "gradient"
        start: Literal["one", "logit"] = "one" if gradients else self.start
        propagated = pixel_relevance(
            self.classifier, self.table, images, request.linear_targets, start
        )
        pixels = images.to(self.classifier.device).detach() if gradients else None
        maps = [
            (found if pixels is None else pixels * found).sum(dim=1)
            for found in propagated.by_target
        ]
        return RawMaps(propagated.scores, propagated.targets, torch.stack(maps, dim=1))
