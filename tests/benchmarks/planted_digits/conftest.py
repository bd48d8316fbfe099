from __future__ import annotations

import pytest

from benchmarks.planted_digits.digit_classifier import kept_digit_classifier
from benchmarks.planted_digits.digit_explainer import trained_digit_explainers
from benchmarks.planted_digits.planted_scores import FoundDigits


@pytest.fixture(scope="session")
def found_digits(tmp_path_factory: pytest.TempPathFactory) -> FoundDigits:
    """Trains the heads; a fraction of the page's images is enough to find what they must."""
    classifier = kept_digit_classifier()
    folder = tmp_path_factory.mktemp("planted") / "head"
    return FoundDigits(
        classifier, trained_digit_explainers(classifier, folder, images=200), count=20
    )
