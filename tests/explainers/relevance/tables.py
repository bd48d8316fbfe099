"""Tables of rules with one word for each choice, as the tests of single rules vary them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ttame.explainers.posthoc.attn_lrp import attn_lrp_rules
from ttame.explainers.relevance.conserving_table import conserving_table
from ttame.explainers.relevance.matches import WEIGHTED, SeesImage
from ttame.explainers.relevance.operation_rules import Product, Sum
from ttame.explainers.relevance.rule_table import RuleTable
from ttame.explainers.relevance.weighted_rules import Absolute, ZBox, ZPlus


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
