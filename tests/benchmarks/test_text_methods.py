"""What the benchmark of methods on reviews says of its numbers."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.text_methods import STAGES, comparison

RISING = np.linspace(10, 40, 50)


def shifted(by: float) -> np.ndarray:
    """Another method's values on the same reviews, lower by so much on the average."""
    return RISING - by + np.random.default_rng(0).normal(0, 1, 50)


@pytest.mark.parametrize(
    ("others", "answer"),
    [
        ({"a": shifted(5), "b": shifted(3)}, "confirmed. It is significantly ahead of every"),
        ({"a": shifted(5), "b": RISING}, "not confirmed. It is not significantly different from b"),
        ({"a": shifted(5), "b": shifted(-3)}, "contradicted. It is significantly behind b; signif"),
    ],
)
def test_the_order_of_the_paper_is_judged(others: dict[str, np.ndarray], answer: str) -> None:
    said = comparison("ours", {"ours": RISING, **others})
    assert f"for ours: {answer}" in said
    assert "paired over 50 reviews" in said
    assert "a +" in said and "p = " in said


def test_expensive_methods_are_measured_on_few_reviews() -> None:
    assert [stage.reviews for stage in STAGES.values()] == [200, 60, 20]
    assert [stage.expensive for stage in STAGES.values()] == [False, False, True]
