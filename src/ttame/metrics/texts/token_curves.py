"""Deletion and insertion: the probability along the way from the whole text to none of it."""

from __future__ import annotations

import numpy as np

from ttame.metrics.texts.word_order import (
    ProbabilityOfKept,
    most_relevant_first,
    only_first,
    without_first,
)

STEPS = 20
"""Points of a curve after its first one."""


def deletion_curve(
    probability: ProbabilityOfKept,
    scores: np.ndarray,
    units: np.ndarray,
    *,
    steps: int = STEPS,
    seed: int = 0,
) -> np.ndarray:
    """The class's probability while words vanish, those of highest score first.

    Petsiuk et al., arXiv 1806.07421, applied to words or tokens. The area under it,
    :func:`area_under`, is low for a good map: what the network uses vanishes soon.

    Args:
        probability: gives the probability of the explained class for variants of the text.
        scores: (U,) float, of words or of tokens; NaN where there is none.
        units: (T,) int, which of the scores each token belongs to; negative for special tokens,
            which stay.
        steps: into which the way is divided.
        seed: the seed of the order of equal scores.

    Returns:
        (steps + 1,) float64 in percent: of the whole text first, of none of its words last.

    Example:
        >>> scores, units = np.array([0.1, 0.8]), np.array([-1, 0, 1, -1])
        >>> deletion_curve(lambda kept: kept.mean(axis=1), scores, units, steps=2).tolist()
        [100.0, 75.0, 50.0]
    """
    ranking = most_relevant_first(scores, seed)
    kept = without_first(ranking, units, _counts(len(ranking), steps))
    return 100 * np.asarray(probability(kept), dtype=np.float64)


def insertion_curve(
    probability: ProbabilityOfKept,
    scores: np.ndarray,
    units: np.ndarray,
    *,
    steps: int = STEPS,
    seed: int = 0,
) -> np.ndarray:
    """The class's probability while words come in, those of highest score first.

    Petsiuk et al., arXiv 1806.07421, applied to words or tokens. The area under it,
    :func:`area_under`, is high for a good map: what the network uses is there soon.

    Args:
        probability: gives the probability of the explained class for variants of the text.
        scores: (U,) float, of words or of tokens; NaN where there is none.
        units: (T,) int, which of the scores each token belongs to; negative for special tokens,
            which are always there.
        steps: into which the way is divided.
        seed: the seed of the order of equal scores.

    Returns:
        (steps + 1,) float64 in percent: of none of the words first, of the whole text last.

    Example:
        >>> scores, units = np.array([0.1, 0.8]), np.array([-1, 0, 1, -1])
        >>> insertion_curve(lambda kept: kept[:, 2] * 0.9, scores, units, steps=2).tolist()
        [0.0, 90.0, 90.0]
    """
    ranking = most_relevant_first(scores, seed)
    kept = only_first(ranking, units, _counts(len(ranking), steps))
    return 100 * np.asarray(probability(kept), dtype=np.float64)


def area_under(curve: np.ndarray) -> float:
    """Area under the points of a curve, equally far apart on [0, 1], by trapezoids.

    Example:
        >>> area_under(np.array([100.0, 50.0, 0.0]))
        50.0
    """
    return float((curve[1:] + curve[:-1]).mean() / 2)


def _counts(units: int, steps: int) -> list[int]:
    return [round(step * units / steps) for step in range(steps + 1)]
