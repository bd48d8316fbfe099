"""Where methods stand in the columns of an evaluation, by its numbers alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Literal

from ttame.results.evaluation import ColumnFacts, Evaluation, MethodScores, Score

SIGNIFICANCE = 0.05
"""Below this p-value a method is significantly different from the best."""

BASELINE_FAMILY = "baseline"

Standing = Literal["best", "level", ""]
"""The best of its column, not significantly different from the best, or neither."""


def method_titles(evaluation: Evaluation) -> Mapping[str, str]:
    """What each method is called on the page; methods that share a title get their names too."""
    shared = Counter(method.title for method in evaluation.methods)
    return {
        method.name: method.title
        if method.title and shared[method.title] == 1
        else f"{method.title} ({method.name})".strip()
        for method in evaluation.methods
    }


def score_of(method: MethodScores, key: str) -> Score | None:
    """A method's score in a column, unless it is missing or NaN."""
    score = method.scores.get(key)
    return None if score is None or math.isnan(score.value) else score


def is_baseline(method: MethodScores) -> bool:
    """Whether the method does not look at the network at all, and so sets the mark for others."""
    return method.family == BASELINE_FAMILY


def comparing_columns(evaluation: Evaluation) -> list[ColumnFacts]:
    """The columns that say which of at least two methods is better."""
    return [
        column
        for column in evaluation.columns
        if column.better != "neither" and len(_different(evaluation, column)) > 1
    ]


def mute_columns(evaluation: Evaluation) -> list[ColumnFacts]:
    """The columns in which several methods have a number, and all have the same."""
    return [
        column
        for column in evaluation.columns
        if column.better != "neither"
        and sum(score_of(method, column.key) is not None for method in evaluation.methods) > 1
        and len(_different(evaluation, column)) == 1
    ]


def _different(evaluation: Evaluation, column: ColumnFacts) -> set[float]:
    scores = (score_of(method, column.key) for method in evaluation.methods)
    return {score.value for score in scores if score is not None}


def standing(score: Score | None) -> Standing:
    """How a score compares with the best of a column that compares methods.

    Example:
        >>> standing(Score(0.5, 0.4, 0.6, rank=2, p_value=0.3, images=10))
        'level'
    """
    if score is None or score.rank < 1:
        return ""
    if score.rank == 1:
        return "best"
    return "level" if score.p_value >= SIGNIFICANCE else ""


def falls_behind(score: Score, other: Score, column: ColumnFacts) -> bool:
    """Whether a score is worse than another one and their intervals do not overlap."""
    if column.better == "higher":
        return score.high < other.low
    return score.low > other.high
