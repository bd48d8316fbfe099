"""The frame that tables which conserve relevance share; a method fills in three rules."""

from __future__ import annotations

from ttame.explainers.relevance.matches import WEIGHTED, Operation
from ttame.explainers.relevance.operation_rules import Pass, Product, SameSign, Sum
from ttame.explainers.relevance.rule import Rule
from ttame.explainers.relevance.rule_table import RuleTable
from ttame.explainers.relevance.stabilisers import Stabiliser


def conserving_table(
    weighted: Rule, sums: Sum, products: Product, stabiliser: Stabiliser = "sign-aware"
) -> RuleTable:
    """A table in which operations with one input and no weights pass relevance on.

    Averages give to the inputs of their own sign.

    Args:
        weighted: of linear layers, convolutions and matrix products with a constant.
        sums: of residual additions.
        products: of the matrix products in attention and of gates.
        stabiliser: of averages.

    Example:
        >>> from ttame.explainers.relevance.weighted_rules import Absolute
        >>> conserving_table(Absolute(), Sum("absolute"), Product("halved"))
        <RuleTable of 5 rows>
    """
    return RuleTable(
        (WEIGHTED, weighted),
        (Operation("add", "subtract"), sums),
        (Operation("matrix product", "multiply"), products),
        (Operation("average"), SameSign(stabiliser)),
        (Operation("softmax", "normalisation", "activation", "batch norm", "divide"), Pass()),
    )
