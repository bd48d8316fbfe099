"""Comprehensiveness and sufficiency of a classifier that can be computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ttame.metrics.texts.erasure import SHARES, comprehensiveness, sufficiency
from ttame.metrics.texts.word_order import taken

UNITS = np.array([-1, 0, 1, 1, 2, 3, -1])
"""[CLS], four words, the second of two pieces, [SEP]."""

PARTS = np.array([0.0, 0.1, 0.2, 0.2, 0.0, 0.3, 0.0])


def additive(kept: np.ndarray) -> np.ndarray:
    """0.2, and what every kept token adds: 1.0 of the whole text."""
    assert kept[:, [0, 6]].all(), "special tokens are never taken away"
    found: np.ndarray = 0.2 + kept @ PARTS
    return found


def test_by_hand() -> None:
    """The map ranks the words 1, 3, 0, 2, which are worth 0.4, 0.3, 0.1 and 0."""
    scores = np.array([0.2, 0.9, 0.1, 0.5])
    drops = comprehensiveness(additive, scores, UNITS, shares=(0.25, 0.5))
    assert drops == pytest.approx(100 * (0.4 + 0.7) / 2)
    lost = sufficiency(additive, scores, UNITS, shares=(0.25, 0.5))
    assert lost == pytest.approx(100 * (0.4 + 0.1) / 2)


def test_the_other_way_round() -> None:
    """Least relevant first: what is lost is what the right order keeps."""
    scores = -np.array([0.2, 0.9, 0.1, 0.5])
    assert comprehensiveness(additive, scores, UNITS, shares=(0.25,)) == pytest.approx(0)
    assert sufficiency(additive, scores, UNITS, shares=(0.25,)) == pytest.approx(80)


def test_tokens_may_be_taken_away_one_by_one() -> None:
    own = np.where(UNITS >= 0, np.arange(7), -1)
    scores = np.array([math.nan, 0.1, 0.2, 0.3, 0.0, 0.4, math.nan])
    # Two of five tokens: the last word, and half of the second one.
    assert comprehensiveness(additive, scores, own, shares=(0.4,)) == pytest.approx(50)


def test_the_published_shares_are_rounded_up_to_whole_words() -> None:
    words = 30
    units = np.arange(words)
    asked: list[list[int]] = []

    def counting(kept: np.ndarray) -> np.ndarray:
        asked.append(kept.sum(axis=1).tolist())
        return np.ones(len(kept))

    scores = np.arange(words, dtype=float)
    assert comprehensiveness(counting, scores, units) == 0
    assert sufficiency(counting, scores, units) == 0
    kept = [taken(share, words) for share in SHARES]
    assert kept == [1, 2, 3, 6, 15]
    assert asked == [[30, 29, 28, 27, 24, 15], [30, *kept]]


def test_without_words_there_is_no_value() -> None:
    nothing = np.array([math.nan, math.nan])
    assert math.isnan(comprehensiveness(additive, nothing, UNITS))
    assert math.isnan(sufficiency(additive, nothing, UNITS))
