"""Each is compared with a twin that computes the same scores without ttame's modules."""

from __future__ import annotations

import pytest

from scripts.docs.situations import Situation
from scripts.docs.situations_of_other_tasks import OTHER_TASKS
from tests.scripts.docs.test_situations import PREPROCESSING, compare, images
from ttame.classifiers.classifier import Classifier


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("task", OTHER_TASKS, ids=lambda task: task.title)
def test_other_tasks_are_explained_as_their_twins(task: Situation) -> None:
    scores = Classifier(task.twin(), preprocessing=PREPROCESSING).logits(images())
    found = Classifier(task.make(), preprocessing=PREPROCESSING).logits(images())
    assert float((found - scores).abs().max()) < 1e-4 * float(scores.abs().max())
    compare(task)
