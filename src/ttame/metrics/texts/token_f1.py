"""Token F1: whether the words of highest score are those that annotators marked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ttame.metrics.texts.word_order import most_relevant_first

COUNTS = tuple(range(5, 85, 5))
"""How many words are taken, as published: 5, 10, ..., 80."""


def token_f1(
    scores: np.ndarray, rationale: np.ndarray, counts: Sequence[int] = COUNTS, *, seed: int = 0
) -> np.ndarray:
    """F1 of the words of highest score against the annotated ones, for one text.

    With P the k words of highest score (all that have a score, if they are fewer) and R the
    annotated words, F1 = 2 |P and R| / (|P| + |R|), which is the harmonic mean of precision
    |P and R| / |P| and recall |P and R| / |R|, and 0 where no word is in both. DeYoung et al.,
    arXiv 1911.03429, as their ``score_hard_rationale_predictions`` counts it; tables have the mean
    over texts (their macro average). Annotated words beyond the model's length count in |R|.
    Annotators were often not asked to mark everything, so precision is a lower bound. Higher is
    better.

    Args:
        scores: (W,) float, of words; NaN where there is none, as beyond the model's length.
        rationale: (W,) bool, the words that annotators marked.
        counts: (K,) the numbers k, each at least 1.
        seed: the seed of the order of equal scores.

    Returns:
        (K,) float64 in percent; NaN where no word is annotated.

    Example:
        >>> scores = np.array([0.9, 0.1, 0.5, 0.7])
        >>> marked = np.array([True, True, False, False])
        >>> token_f1(scores, marked, [1, 2, 4]).round(1).tolist()
        [66.7, 50.0, 66.7]
    """
    order = most_relevant_first(scores, seed)
    in_both = np.concatenate([[0], np.cumsum(rationale[order])])
    predicted = np.minimum(counts, len(order))
    return _f1(in_both[predicted], predicted, int(rationale.sum()))


def best_token_f1(
    scores: np.ndarray, rationale: np.ndarray, counts: Sequence[int] = COUNTS
) -> np.ndarray:
    """The highest F1 that any order of the words reaches: what stands next to :func:`token_f1`.

    An order that begins with the annotated words that have a score has min(k, their number) of
    them among the first k, and none has more.

    Args:
        scores: (W,) float; only which words have a score matters.
        rationale: (W,) bool, the words that annotators marked.
        counts: (K,) the numbers k, each at least 1.

    Returns:
        (K,) float64 in percent; NaN where no word is annotated.

    Example:
        >>> scores, marked = np.array([0.9, 0.1, np.nan]), np.array([False, True, True])
        >>> best_token_f1(scores, marked, [1, 2]).round(1).tolist()
        [66.7, 50.0]
    """
    scored = ~np.isnan(scores)
    predicted = np.minimum(counts, int(scored.sum()))
    in_both = np.minimum(predicted, int((rationale & scored).sum()))
    return _f1(in_both, predicted, int(rationale.sum()))


def _f1(in_both: np.ndarray, predicted: np.ndarray, annotated: int) -> np.ndarray:
    if not annotated:
        return np.full(len(predicted), np.nan)
    values: np.ndarray = 200.0 * in_both / (predicted + annotated)
    return values
