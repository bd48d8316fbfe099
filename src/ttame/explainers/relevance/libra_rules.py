"""LibraGrad: backward passes pruned and scaled until gradient times input is complete."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ttame.classifiers.any_classifier import Explainable
from ttame.classifiers.linear_end import scoring_in_the_last_layer
from ttame.errors import ExplainerError
from ttame.explainers.relevance.gradient_rules import (
    Gradient,
    HalfGradients,
    HeldDivisor,
    HeldScale,
    MeanSlope,
)
from ttame.explainers.relevance.matches import Operation
from ttame.explainers.relevance.operation_calls import CONSTANT_PRODUCT
from ttame.explainers.relevance.operation_rules import Constant
from ttame.explainers.relevance.propagation import check_propagation, propagating
from ttame.explainers.relevance.rule_table import RuleTable

LIBRA_RULES = RuleTable(
    (Operation("softmax", "sigmoid", "sigmoid_", "hardsigmoid"), Constant()),
    (
        Operation(
            *("relu", "relu_", "relu6", "leaky_relu", "prelu", "hardtanh", "abs", "__abs__"),
            *("clamp", "clip", "clamp_min", "clamp_max"),
        ),
        Gradient(),
    ),
    (Operation("activation"), MeanSlope()),
    (Operation("matrix product", "multiply"), HalfGradients()),
    (Operation("normalisation"), HeldScale()),
    (Operation("divide"), HeldDivisor()),
    (
        Operation("linear", "convolution", CONSTANT_PRODUCT, "batch norm"),
        Gradient(),
    ),
    (Operation("add", "subtract", "average"), Gradient()),
)
"""Mehri et al., LibraGrad, CVPR 2025, arXiv 2411.16760: what is locally affine keeps its gradient;
of everything else as much of the backward pass is cut or scaled as makes it complete.

Paths that are pruned: through the softmax of attention, the sigmoid of a gate, the standard
deviation or norm of a normalisation, and the gate of an activation ``z Φ(z)``, whose slope becomes
``f(z)/z``. Paths that are scaled: products of two factors that both depend on the image, each of
which gets half.
"""


def check_libra(classifier: Explainable, libra: bool, method: str) -> None:
    """Refuse the option where the network has an operation without a rule.

    Raises:
        ExplainerError: it has; or ``libra`` is neither true nor false.
    """
    if not isinstance(libra, bool):
        raise ExplainerError(f"libra={libra!r} for {method}", allowed="True or False")
    if libra:
        check_propagation(classifier, LIBRA_RULES, f"{method} with libra")


def chosen_scores(classifier: Explainable, libra: bool) -> Callable[[Tensor], Tensor]:
    """From images to scores, with LibraGrad's gradients or those of autograd."""
    return libra_scores(classifier) if libra else classifier.logits


def libra_scores(classifier: Explainable) -> Callable[[Tensor], Tensor]:
    """From (B, 3, H, W) images to the (B, C) scores of a classifier, with LibraGrad's gradients.

    The scores are those of ``classifier.logits``.

    Raises:
        ExplainerError: when it is called: the network has an operation without a rule.

    Example:
        >>> import torch
        >>> from ttame.testing import tiny_classifier
        >>> classifier = tiny_classifier("vit", size=32)
        >>> images = torch.zeros(1, 3, 32, 32).requires_grad_()
        >>> libra_scores(classifier)(images).requires_grad
        True
    """

    def scores(images: Tensor) -> Tensor:
        with (
            # Before the table: its hooks must see the layer still running when it gives scores.
            scoring_in_the_last_layer(classifier),
            propagating(
                LIBRA_RULES,
                "LibraGrad",
                classifier.name,
                images=len(images),
                network=classifier.network,
            ),
        ):
            return classifier.logits(images)

    return scores
