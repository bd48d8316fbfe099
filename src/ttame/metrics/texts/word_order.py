"""Which words come first, whatever values are equal, and texts without the first of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

Merging = Literal["maximum", "largest magnitude"]

ProbabilityOfKept = Callable[[np.ndarray], np.ndarray]
"""(V, T) bool, which tokens of a text each variant keeps, to the (V,) probabilities of the
explained class, in [0, 1]. Special tokens are always kept."""


def most_relevant_first(scores: np.ndarray, seed: int = 0) -> np.ndarray:
    """Rank words or tokens by their scores.

    Equal scores are in one random order, which depends on the seed and on the number of words only:
    it is the same for all methods, and favours neither the beginning of a text nor its end.

    Args:
        scores: (U,) float; NaN where there is no score, which is not ranked.
        seed: the seed of the order of equal values.

    Returns:
        (at most U,) int64, the numbers of what has a score.

    Example:
        >>> most_relevant_first(np.array([0.1, np.nan, 0.9, -2.0])).tolist()
        [2, 0, 3]
    """
    order_of_ties = np.random.default_rng(seed).permutation(len(scores))
    places = np.argsort(-scores[order_of_ties], kind="stable")  # NaN comes last
    return order_of_ties[places][: int((~np.isnan(scores)).sum())]


def word_scores(
    scores: np.ndarray, words: np.ndarray, number_of_words: int, merging: Merging = "maximum"
) -> np.ndarray:
    """Merge the scores of tokens into scores of words.

    Args:
        scores: (T,) float, of tokens.
        words: (T,) int, the word that each token is a piece of; negative for tokens of no word,
            which are the special ones and padding.
        number_of_words: W, of the whole text.
        merging: the ``"maximum"`` of a word's pieces, as published; or the value of the
            ``"largest magnitude"``, which does not hide that a piece speaks against the class.

    Returns:
        (W,) float64; NaN for words without tokens, which are those beyond the model's length.

    Example:
        >>> scores, words = np.array([9.0, 0.2, -0.5, 0.1]), np.array([-1, 0, 0, 1])
        >>> word_scores(scores, words, 3).tolist()
        [0.2, 0.1, nan]
        >>> word_scores(scores, words, 3, "largest magnitude").tolist()
        [-0.5, 0.1, nan]
    """
    merged = np.full(number_of_words, np.nan)
    of_words = words >= 0
    values, places = scores[of_words].astype(np.float64), words[of_words]
    size = values if merging == "maximum" else np.abs(values)
    # The largest of a word is written last; of pieces of equal size, the positive one.
    order = np.lexsort((values, size))
    merged[places[order]] = values[order]
    return merged


def taken(share: float, of: int) -> int:
    """How many words a share of them is, rounded up: at least one, if there is any.

    Example:
        >>> taken(0.05, 40), taken(0.01, 40), taken(0.5, 0)
        (2, 1, 0)
    """
    return math.ceil(share * of - 1e-9)  # 0.07 times 100 is a little more than 7


def without_first(ranking: np.ndarray, units: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """Texts without the first words of a ranking; special tokens stay.

    Args:
        ranking: numbers of the units, as :func:`most_relevant_first` gives them.
        units: (T,) int, the unit that each token belongs to; negative for special ones.
        counts: (V,) how many units each variant loses.

    Returns:
        (V, T) bool, which tokens are kept.

    Example:
        >>> without_first(np.array([2, 0, 1]), np.array([-1, 0, 1, 1, 2, -1]), [1, 2]).astype(int)
        array([[1, 1, 1, 1, 0, 1],
               [1, 0, 1, 1, 0, 1]])
    """
    return _places(ranking, units) >= np.asarray(counts)[:, None]


def only_first(ranking: np.ndarray, units: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """Texts that keep nothing but the first words of a ranking, and the special tokens.

    Args:
        ranking: numbers of the units, as :func:`most_relevant_first` gives them.
        units: (T,) int, the unit that each token belongs to; negative for special ones.
        counts: (V,) how many units each variant keeps.

    Returns:
        (V, T) bool, which tokens are kept.

    Example:
        >>> only_first(np.array([2, 0, 1]), np.array([-1, 0, 1, 1, 2, -1]), [1, 2]).astype(int)
        array([[1, 0, 0, 0, 1, 1],
               [1, 1, 0, 0, 1, 1]])
    """
    kept: np.ndarray = (_places(ranking, units) < np.asarray(counts)[:, None]) | (units < 0)
    return kept


def _places(ranking: np.ndarray, units: np.ndarray) -> np.ndarray:
    """(T,) the place of each token's unit in the ranking; behind all others without one."""
    behind = len(ranking) + len(units)
    places = np.full(max(int(units.max(initial=-1)), int(ranking.max(initial=-1))) + 1, behind)
    places[ranking] = np.arange(len(ranking))
    return np.where(units < 0, behind, places[units] if len(places) else behind)
