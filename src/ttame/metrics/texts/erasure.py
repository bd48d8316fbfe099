"""Comprehensiveness and sufficiency: what is left without the first words, or with them alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ttame.metrics.texts.word_order import (
    ProbabilityOfKept,
    most_relevant_first,
    only_first,
    taken,
    without_first,
)

SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)
"""Of the words or tokens, over which both are averaged."""


def comprehensiveness(
    probability: ProbabilityOfKept,
    scores: np.ndarray,
    units: np.ndarray,
    *,
    shares: Sequence[float] = SHARES,
    seed: int = 0,
) -> float:
    """How much of the class's probability is lost without the words of highest score.

    p(y | x) - p(y | x without its first words), averaged over the shares of the words that are
    taken away (area over the perturbation curve; DeYoung et al., arXiv 1911.03429). Higher is
    better. Shares are rounded up to whole words.

    Args:
        probability: gives the probability of the explained class for variants of the text.
        scores: (U,) float, of words or of tokens; NaN where there is none.
        units: (T,) int, which of the scores each token belongs to; negative for special tokens,
            which stay.
        shares: the shares of the units, in (0, 1].
        seed: the seed of the order of equal scores.

    Returns:
        In percentage points, from -100 to 100; NaN where nothing has a score.

    Example:
        >>> scores, units = np.array([0.1, 0.8]), np.array([-1, 0, 1, -1])
        >>> comprehensiveness(lambda kept: kept[:, 2] * 0.9, scores, units, shares=(0.5, 1.0))
        90.0
    """

    def variants(ranking: np.ndarray, counts: list[int]) -> np.ndarray:
        return without_first(ranking, units, [0, *counts])

    return _mean_drop(probability, variants, scores, shares, seed)


def sufficiency(
    probability: ProbabilityOfKept,
    scores: np.ndarray,
    units: np.ndarray,
    *,
    shares: Sequence[float] = SHARES,
    seed: int = 0,
) -> float:
    """How much of the class's probability is lost with nothing but the words of highest score.

    p(y | x) - p(y | the first words of x alone), averaged over the shares of the words that are
    kept (DeYoung et al., arXiv 1911.03429). Lower is better. Shares are rounded up to whole words.

    Args:
        probability: gives the probability of the explained class for variants of the text.
        scores: (U,) float, of words or of tokens; NaN where there is none.
        units: (T,) int, which of the scores each token belongs to; negative for special tokens,
            which stay.
        shares: the shares of the units, in (0, 1].
        seed: the seed of the order of equal scores.

    Returns:
        In percentage points, from -100 to 100; NaN where nothing has a score.

    Example:
        >>> scores, units = np.array([0.1, 0.8]), np.array([-1, 0, 1, -1])
        >>> sufficiency(lambda kept: kept[:, 2] * 0.9, scores, units, shares=(0.5, 1.0))
        0.0
    """

    def variants(ranking: np.ndarray, counts: list[int]) -> np.ndarray:
        return only_first(ranking, units, [len(ranking), *counts])

    return _mean_drop(probability, variants, scores, shares, seed)


def _mean_drop(
    probability: ProbabilityOfKept,
    variants: Callable[[np.ndarray, list[int]], np.ndarray],
    scores: np.ndarray,
    shares: Sequence[float],
    seed: int,
) -> float:
    """In percentage points, from the first variant, which is the whole text, to the others."""
    ranking = most_relevant_first(scores, seed)
    if not len(ranking):
        return float("nan")
    kept = variants(ranking, [taken(share, len(ranking)) for share in shares])
    whole, *changed = np.asarray(probability(kept), dtype=np.float64)
    return float(100 * (whole - np.mean(changed)))
