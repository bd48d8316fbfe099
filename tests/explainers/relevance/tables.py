"""Tables of rules with one word for each choice, as the tests of single rules vary them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ttame.classifiers.classifier import Classifier
from ttame.explainers.methods.relevance.attn_lrp import attn_lrp_rules
from ttame.explainers.relevance.conserving_table import conserving_table
from ttame.explainers.relevance.matches import WEIGHTED, Operation, SeesImage
from ttame.explainers.relevance.operation_rules import Norm, Product, Sum
from ttame.explainers.relevance.rule_presets import rule_table
from ttame.explainers.relevance.rule_table import RuleTable
from ttame.explainers.relevance.weighted_rules import Absolute, Epsilon, ZBox, ZPlus


def conserving(
    linear: Any = "joint",
    sums: Any = "normalised",
    products: Any = "normalised",
    stabiliser: Any = "sign-aware",
    limits: tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]] | None = None,
) -> RuleTable:
    table = conserving_table(
        Absolute() if linear == "absolute" else ZPlus(linear, stabiliser),
        Sum(sums, stabiliser),
        Product(products, stabiliser),
        stabiliser,
    )
    return table if limits is None else table.with_first((WEIGHTED & SeesImage(), ZBox(*limits)))


def gradients(**options: Any) -> RuleTable:
    return attn_lrp_rules(**options)


def almost_without_stabilisers(classifier: Classifier) -> RuleTable:
    """The preset ``epsilon``, its ε too small to be seen in double precision."""
    linear = Operation("add", "subtract", "average", "normalisation", "batch norm")
    return rule_table("epsilon", classifier).with_first(
        (WEIGHTED, Epsilon(1e-14)), (linear, Norm(1e-14))
    )
