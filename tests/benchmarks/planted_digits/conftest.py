from __future__ import annotations

import pytest

from benchmarks.planted_digits.digit_classifier import kept_digit_classifier
from benchmarks.planted_digits.digit_explainer import trained_digit_explainers
from benchmarks.planted_digits.planted_scores import OPTIONS, FoundDigits

QUICK = {
    **OPTIONS,
    "extremal_perturbation": {"areas": (0.1,), "steps": 15, "cell": 4},
    "meaningful_perturbation": {"steps": 20, "cell": 4},
    "rise": {"masks": 200},
}
"""Fewer passes than for the page; the digits are found as often."""


@pytest.fixture(scope="session")
def found_digits(tmp_path_factory: pytest.TempPathFactory) -> FoundDigits:
    """Trains the heads; a fraction of the page's images is enough to find what they must."""
    classifier = kept_digit_classifier()
    folder = tmp_path_factory.mktemp("planted") / "head"
    trained = trained_digit_explainers(classifier, folder, images=200)
    return FoundDigits(classifier, trained, count=20, options=QUICK)
