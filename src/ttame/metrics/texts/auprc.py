"""AUPRC: how well scores order words by whether annotators marked them."""

from __future__ import annotations

from typing import Literal

import numpy as np

CurveArea = Literal["steps", "trapezoids"]


def auprc(scores: np.ndarray, rationale: np.ndarray, *, area: CurveArea = "steps") -> float:
    """Area under the curve of precision over recall of soft scores, for one text.

    Every score is a threshold: the words at or above it are predicted. With precision P_i and
    recall R_i at the i-th highest threshold and R_0 = 0, the area by steps is
    sum_i (R_i - R_(i-1)) P_i (average precision), and by trapezoids, with P_0 = 1, it is
    sum_i (R_i - R_(i-1)) (P_i + P_(i-1)) / 2, as DeYoung et al. have it (arXiv 1911.03429); between
    points the curve does not run straight, so trapezoids promise too much. Words without a score
    come last, all together. Higher is better; chance gives the share of annotated words.

    Args:
        scores: (W,) float, of words; NaN where there is none.
        rationale: (W,) bool, the words that annotators marked.
        area: ``"steps"``, or ``"trapezoids"`` as published.

    Returns:
        In percent; NaN where no word is annotated.

    Example:
        >>> scores, marked = np.array([0.9, 0.5, 0.7]), np.array([True, True, False])
        >>> round(auprc(scores, marked), 1), round(auprc(scores, marked, area="trapezoids"), 1)
        (83.3, 79.2)
    """
    if not rationale.any():
        return float("nan")
    values = np.where(np.isnan(scores), -np.inf, scores)
    order = np.argsort(-values, kind="stable")
    last = np.append(values[order][1:] != values[order][:-1], True)  # of each group of equals
    found = np.cumsum(rationale[order])[last]
    precision = found / (np.flatnonzero(last) + 1)
    recall = np.diff(found, prepend=0) / found[-1]
    if area == "steps":
        return float(100 * (recall * precision).sum())
    before = np.concatenate([[1.0], precision[:-1]])
    return float(100 * (recall * (precision + before) / 2).sum())
