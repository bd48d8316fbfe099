"""AttnLRP: Achtibat et al., Attention-Aware Layer-Wise Relevance Propagation, ICML 2024."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from ttame.classifiers.any_classifier import Explainable
from ttame.errors import ExplainerError
from ttame.explainers.contract.explainer import Explained, Explainer
from ttame.explainers.contract.method_card import LINEAR_TARGETS, LRP_LICENCE_NOTE, MethodCard
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.contract.suggested_methods import WITHOUT_ATTENTION
from ttame.explainers.relevance.gradient_rules import (
    GammaGradient,
    Gradient,
    HalfGradients,
    HeldDivisor,
    HeldScale,
    MeanSlope,
)
from ttame.explainers.relevance.image_chunks import explain_in_chunks
from ttame.explainers.relevance.matches import Operation
from ttame.explainers.relevance.operation_calls import CONSTANT_PRODUCT
from ttame.explainers.relevance.operation_rules import Constant
from ttame.explainers.relevance.pixel_relevance import pixel_relevance
from ttame.explainers.relevance.propagation import check_propagation
from ttame.explainers.relevance.rule_table import RuleTable
from ttame.networks.attention_reading import reading_attention


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class AttnLrp(Explainer[Explained]):
    """Input times gradient with a modified backward pass: ``S = Σ_channels x ⊙ ∂̃f_c/∂x``, signed.

    ``∂̃`` differs from the gradient of the class's logit f_c with respect to the image x in this:

    - layer norm, RMS norm: the standard deviation counts as a constant;
    - activations: their slope is ``f(z)/z``;
    - the products Q·Kᵀ and A·V, and those of gates: the gradients of both factors are halved, so
      that in the end those of q and k are divided by 4 and that of v by 2;
    - linear layers and convolutions: the gradient, or the γ rule.

    Relevance is conserved up to what biases and the softmax take: on a network without biases,
    with ``attention_is_constant``, the relevances of all inputs (pixels, class token, position
    embeddings) sum to the logit.

    One forward pass, and one backward pass for each class. Maps are signed, in pixels.

    Args:
        classifier: any network with attention: of one resolution or hierarchical.
        attention_is_constant: CP-LRP: no relevance goes through the attention probabilities to q
            and k, and all of it to v. The published example for Vision Transformers does so.
        gamma_linear: contributions of the output's sign count ``1 + γ`` times in linear layers.
            The published example tries 0, 0.01, 0.05, 0.1 and 1, chosen by eye; 0 is the paper's
            rule without γ.
        gamma_convolution: the same in convolutions; the example tries 0.1, 0.25 and 100.

    Raises:
        ExplainerError: the network has no attention, or an operation without a rule; a negative γ.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> attn_lrp = AttnLrp(tiny_classifier("vit", size=32))
        >>> attn_lrp(torch.zeros(3, 3, 32, 32), "top2").maps.shape
        torch.Size([3, 2, 32, 32])
    """

    card = MethodCard(
        name="attn_lrp",
        title="AttnLRP",
        family="relevance propagation",
        networks="transformers, also hierarchical ones",
        cost="1 forward, 1 backward with other rules per class",
        paper="Achtibat et al., ICML 2024, arXiv 2402.05602",
        targets=LINEAR_TARGETS,
        map_is="pixels",
        licence_note=LRP_LICENCE_NOTE,
        explains=("images", "texts"),
    )

    attention_is_constant: bool = False
    gamma_linear: float = 0.0
    gamma_convolution: float = 0.0
    table: RuleTable = dataclasses.field(init=False, repr=False)
    bytes_per_image: int = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("gamma_linear", "gamma_convolution"):
            gamma = getattr(self, name)
            if not 0 <= gamma < float("inf"):
                raise ExplainerError(f"{name}={gamma!r} for {self.method}", allowed="at least 0")
        _require_attention(self.classifier, self.method)
        table = attn_lrp_rules(
            self.attention_is_constant, self.gamma_linear, self.gamma_convolution
        )
        bytes_per_image = check_propagation(
            self.classifier, table, self.method, WITHOUT_ATTENTION[self.classifier.kind]
        )
        self._keep(table=table, bytes_per_image=bytes_per_image)

    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        def explain(images: Tensor, request: Request) -> RawMaps:
            propagated = pixel_relevance(
                self.classifier, self.table, images, request.linear_targets
            )
            pixels = images.to(self.classifier.device).detach()
            maps = [(pixels * gradient).sum(dim=1) for gradient in propagated.by_target]
            return RawMaps(propagated.scores, propagated.targets, torch.stack(maps, dim=1))

        return explain_in_chunks(self.classifier, images, request, self.bytes_per_image, explain)


def attn_lrp_rules(
    attention_is_constant: bool = False, gamma_linear: float = 0.0, gamma_convolution: float = 0.0
) -> RuleTable:
    """The table of rules of :class:`AttnLrp`; the arguments are its options.

    Example:
        >>> print(attn_lrp_rules(gamma_convolution=0.25).in_words())
        Operation('linear'): Gradient()
        Operation('convolution'): GammaGradient(gamma=0.25)
        Operation('matrix product', 'multiply'): HalfGradients()
        Operation('softmax'): Gradient()
        Operation('normalisation'): HeldScale()
        Operation('activation'): MeanSlope()
        Operation('divide'): HeldDivisor()
        Operation('add', 'subtract', 'average', 'batch norm', 'matrix product with a constant'): \
Gradient()
    """
    return RuleTable(
        (Operation("linear"), GammaGradient(gamma_linear) if gamma_linear else Gradient()),
        (
            Operation("convolution"),
            GammaGradient(gamma_convolution) if gamma_convolution else Gradient(),
        ),
        (Operation("matrix product", "multiply"), HalfGradients()),
        (Operation("softmax"), Constant() if attention_is_constant else Gradient()),
        (Operation("normalisation"), HeldScale()),
        (Operation("activation"), MeanSlope()),
        (Operation("divide"), HeldDivisor()),
        (Operation("add", "subtract", "average", "batch norm", CONSTANT_PRODUCT), Gradient()),
    )


def _require_attention(classifier: Explainable, method: str) -> None:
    with torch.no_grad(), reading_attention() as probabilities:
        classifier.logits(classifier.blank_image())
    if not probabilities:
        raise ExplainerError(
            f"{method} is not defined for {classifier.name}: it has no attention",
            remedy=f"full_lrp, {WITHOUT_ATTENTION[classifier.kind]}",
        )
