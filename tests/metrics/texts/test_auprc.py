"""AUPRC by hand, by a slow sweep over thresholds, and where nothing can be said."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ttame.metrics.texts.auprc import auprc

NAN = float("nan")


def test_by_hand() -> None:
    """Thresholds 0.9, 0.6, 0.3: precision 1, 1/2, 3/4; recall 1/3, 1/3, 1."""
    scores = np.array([0.3, 0.9, 0.6, 0.3])
    marked = np.array([True, True, False, True])
    assert auprc(scores, marked) == pytest.approx(100 * (1 / 3 + 2 / 3 * 3 / 4))
    trapezoids = 1 / 3 * (1 + 1) / 2 + 2 / 3 * (3 / 4 + 1 / 2) / 2
    assert auprc(scores, marked, area="trapezoids") == pytest.approx(100 * trapezoids)


def test_perfect_and_constant_scores() -> None:
    marked = np.array([False, True, True, False, False])
    assert auprc(np.array([0.0, 1.0, 2.0, 0.5, 0.1]), marked) == 100.0
    assert auprc(np.zeros(5), marked) == pytest.approx(40.0)  # the share of marked words


def test_words_without_a_score_come_last_together() -> None:
    marked = np.array([True, True, False, False])
    scores = np.array([0.5, NAN, NAN, NAN])
    assert auprc(scores, marked) == pytest.approx(100 * (1 / 2 * 1 + 1 / 2 * 2 / 4))


def test_is_what_a_sweep_over_thresholds_gives() -> None:
    generator = np.random.default_rng(1)
    for _ in range(20):
        scores = generator.integers(-4, 5, 25).astype(float)
        marked = generator.random(25) < 0.4
        marked[0] = True
        area, before = 0.0, 0.0
        for threshold in sorted(set(scores), reverse=True):
            at_or_above = scores >= threshold
            recall = marked[at_or_above].sum() / marked.sum()
            area += (recall - before) * marked[at_or_above].mean()
            before = recall
        assert auprc(scores, marked) == pytest.approx(100 * area)


def test_texts_without_annotation_have_no_value() -> None:
    assert math.isnan(auprc(np.arange(3.0), np.zeros(3, dtype=bool)))
