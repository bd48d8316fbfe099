"""Tables of rules under zennit's names, for convolutional networks and transformers.

Linear layers follow the ε rule, convolutions what the name says; where it names a third rule, that
is the rule of the layer which sees the image. All else is the same in every preset: sums, averages
and normalisations share by contribution, activations pass relevance on, a batch norm belongs to the
linear map before it, the attention probabilities are constants, and the factors of a gate get half
each.
"""

from __future__ import annotations

from collections.abc import Callable

from ttame.classifiers.classifier import Classifier
from ttame.errors import UnknownNameError
from ttame.explainers.relevance.matches import WEIGHTED, Operation, SeesImage
from ttame.explainers.relevance.operation_calls import CONSTANT_PRODUCT
from ttame.explainers.relevance.operation_rules import Constant, Norm, Pass, Product
from ttame.explainers.relevance.pixel_relevance import black_of, white_of
from ttame.explainers.relevance.rule import Rule
from ttame.explainers.relevance.rule_table import RuleTable
from ttame.explainers.relevance.weighted_rules import (
    AlphaBeta,
    Epsilon,
    Flat,
    Gamma,
    ZBox,
    ZPlus,
)

FIRST = WEIGHTED & SeesImage()
"""The layer that sees the image."""


def rule_table(name: str, classifier: Classifier) -> RuleTable:
    """A table of rules by its name.

    Args:
        name: one of ``RULE_PRESETS``.
        classifier: whose lowest and highest pixel values the z^B rule takes.

    Raises:
        UnknownNameError: no such table; with near matches.

    Example:
        >>> import ttame
        >>> classifier = ttame.load_classifier("efficientnet_lite0")
        >>> print(rule_table("epsilon_plus_flat", classifier).in_words())
        Operation('linear', 'convolution', 'matrix product with a constant') & SeesImage(): Flat()
        Operation('convolution'): ZPlus(parts='joint', stabiliser='sign-aware')
        Operation('linear', 'matrix product with a constant'): Epsilon(epsilon=1e-06)
        Operation('add', 'subtract', 'average', 'normalisation'): Norm(epsilon=1e-09)
        Operation('activation', 'batch norm', 'divide'): Pass()
        Operation('softmax'): Constant()
        Operation('matrix product', 'multiply'): Product(shares='halved', stabiliser='sign-aware')
    """
    if name not in RULE_PRESETS:
        raise UnknownNameError.of("table of relevance rules", name, RULE_PRESETS)
    return RULE_PRESETS[name](classifier)


def _with_convolutions(rule: Rule) -> RuleTable:
    return RuleTable(
        (Operation("convolution"), rule),
        (Operation("linear", CONSTANT_PRODUCT), Epsilon()),
        (Operation("add", "subtract", "average", "normalisation"), Norm()),
        (Operation("activation", "batch norm", "divide"), Pass()),
        (Operation("softmax"), Constant()),
        (Operation("matrix product", "multiply"), Product("halved")),
    )


def _epsilon(_classifier: Classifier) -> RuleTable:
    # By contribution, a batch norm is a layer like others, whatever stands before it.
    return _with_convolutions(Epsilon()).with_first((Operation("batch norm"), Norm()))


def _epsilon_plus(_classifier: Classifier) -> RuleTable:
    return _with_convolutions(ZPlus())


def _epsilon_plus_flat(_classifier: Classifier) -> RuleTable:
    return _with_convolutions(ZPlus()).with_first((FIRST, Flat()))


def _epsilon_alpha2_beta1(_classifier: Classifier) -> RuleTable:
    return _with_convolutions(AlphaBeta(2, 1))


def _epsilon_alpha2_beta1_flat(_classifier: Classifier) -> RuleTable:
    return _with_convolutions(AlphaBeta(2, 1)).with_first((FIRST, Flat()))


def _epsilon_gamma_box(classifier: Classifier) -> RuleTable:
    box = ZBox(black_of(classifier), white_of(classifier))
    return _with_convolutions(Gamma(0.25)).with_first((FIRST, box))


RULE_PRESETS: dict[str, Callable[[Classifier], RuleTable]] = {
    "epsilon": _epsilon,
    "epsilon_plus": _epsilon_plus,
    "epsilon_plus_flat": _epsilon_plus_flat,
    "epsilon_alpha2_beta1": _epsilon_alpha2_beta1,
    "epsilon_alpha2_beta1_flat": _epsilon_alpha2_beta1_flat,
    "epsilon_gamma_box": _epsilon_gamma_box,
}
"""Name to what makes the table for a classifier."""
