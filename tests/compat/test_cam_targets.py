"""Targets of pytorch-grad-cam: values by hand, and which of them are functions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ttame.compat import cam_targets
from ttame.errors import ClassSelectionError


def test_values() -> None:
    scores = torch.tensor([0.0, 1.0, -2.0])
    assert cam_targets.ClassifierOutputTarget(2)(scores) == -2
    probability = np.exp(1) / (1 + np.exp(1) + np.exp(-2))
    found = cam_targets.ClassifierOutputSoftmaxTarget(1)(scores)
    assert float(found) == pytest.approx(probability)
    assert cam_targets.BinaryClassifierOutputTarget(0)(torch.tensor([3.0])) == -3
    assert cam_targets.BinaryClassifierOutputTarget(1)(torch.tensor([3.0])) == 3
    assert cam_targets.RawScoresOutputTarget()(torch.tensor([3.0])) == 3
    of_places = torch.arange(8.0).reshape(2, 2, 2)
    mask = np.array([[1, 0], [0, 0.5]])
    assert cam_targets.SemanticSegmentationTarget(1, mask)(of_places) == 4 + 3.5
    with pytest.raises(ClassSelectionError, match=r"mask of \(2,\).*allowed: a mask of \(2, 2\)"):
        cam_targets.SemanticSegmentationTarget(1, mask[0])(of_places)


def test_classes_and_functions_are_told_from_each_other() -> None:
    of_class = cam_targets.ClassifierOutputTarget(3)
    of_softmax = cam_targets.ClassifierOutputSoftmaxTarget(3)
    assert cam_targets.classes_of([of_class, 4, np.int64(5), torch.tensor(6)]) == [3, 4, 5, 6]
    assert cam_targets.classes_of([of_softmax]) is None
    assert cam_targets.classes_of(None) is None
    for mixed in ([of_softmax, 1], ["cat"], [True], [object()]):
        with pytest.raises(ClassSelectionError, match="as target; allowed: for each image an int"):
            cam_targets.classes_of(mixed)


def test_a_function_must_give_one_number() -> None:
    def everything(output: Tensor) -> Tensor:
        return output

    target = cam_targets.target_of(everything, (3,))
    with pytest.raises(
        ClassSelectionError, match="gives 3 numbers for an image; allowed: a tensor"
    ):
        target.explained(torch.zeros(2, 3))
