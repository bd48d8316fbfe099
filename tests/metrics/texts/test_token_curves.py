"""Deletion and insertion of a classifier that can be computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ttame.metrics.texts.token_curves import area_under, deletion_curve, insertion_curve

UNITS = np.array([-1, 0, 1, 2, 3, -1])
WORTH = np.array([0.0, 0.1, 0.4, 0.0, 0.3, 0.0])
SCORES = np.array([0.2, 0.9, 0.1, 0.5])
"""Words 1, 3, 0, 2 in this order, worth 0.4, 0.3, 0.1, 0."""


def additive(kept: np.ndarray) -> np.ndarray:
    assert kept[:, [0, 5]].all(), "special tokens are never taken away"
    found: np.ndarray = 0.2 + kept @ WORTH
    return found


def test_by_hand() -> None:
    deleted = deletion_curve(additive, SCORES, UNITS, steps=4)
    np.testing.assert_allclose(deleted, [100, 60, 30, 20, 20])
    inserted = insertion_curve(additive, SCORES, UNITS, steps=4)
    np.testing.assert_allclose(inserted, [20, 60, 90, 100, 100])
    # Trapezoids: 80, 45, 25, 20 and 40, 75, 95, 100.
    assert area_under(deleted) == pytest.approx(42.5)
    assert area_under(inserted) == pytest.approx(77.5)


def test_steps_end_at_the_whole_text_and_at_nothing() -> None:
    for steps in (1, 3, 20):
        deleted = deletion_curve(additive, SCORES, UNITS, steps=steps)
        inserted = insertion_curve(additive, SCORES, UNITS, steps=steps)
        assert len(deleted) == len(inserted) == steps + 1
        assert deleted[[0, -1]] == pytest.approx([100, 20])
        assert inserted[[0, -1]] == pytest.approx([20, 100])


def test_the_order_matters() -> None:
    right = area_under(deletion_curve(additive, SCORES, UNITS, steps=4))
    wrong = area_under(deletion_curve(additive, -SCORES, UNITS, steps=4))
    assert right < wrong
