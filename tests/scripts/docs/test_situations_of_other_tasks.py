"""Each is compared with a twin that computes the same scores without ttame's modules."""

from __future__ import annotations

from typing import Any

import pytest

from scripts.docs.situations_of_other_tasks import OTHER_TASKS
from tests.scripts.docs.test_situations import PREPROCESSING, images, maps
from ttame.classifiers.classifier import Classifier


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("task", OTHER_TASKS, ids=lambda task: task[0])
def test_other_tasks_are_explained_as_their_twins(task: Any) -> None:
    _, make, make_twin, methods = task
    found = Classifier(make(), preprocessing=PREPROCESSING)
    twin = Classifier(make_twin(), preprocessing=PREPROCESSING)
    scores = twin.logits(images())
    assert float((found.logits(images()) - scores).abs().max()) < 1e-4 * float(scores.abs().max())
    for method in methods:
        expected = maps(method, twin)
        largest = float(expected.abs().max())
        assert largest > 0, method
        assert float((maps(method, found) - expected).abs().max()) <= 1e-3 * largest, method
