"""The contrast of a class with its rivals, against the formula for each class by itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.conftest import assert_close
from ttame.classifiers.class_contrast import contrasted, rival_rows
from ttame.outputs import rivals


def slowly(features: Tensor, weights: Tensor, logits: Tensor, classes: Tensor) -> Tensor:
    """``(w_k − Σ_{j≠k} q_j w_j) · A`` with a softmax over the other classes, one at a time."""
    found = torch.zeros(*classes.shape, *features.shape[2:], dtype=torch.float64)
    for image, of_image in enumerate(classes.tolist()):
        for number, k in enumerate(of_image):
            others = [j for j in range(len(weights)) if j != k]
            q = logits[image, others].double().softmax(dim=0)
            row = weights[k].double() - (q[:, None] * weights[others].double()).sum(dim=0)
            found[image, number] = (row[:, None, None] * features[image].double()).sum(dim=0)
    return found


def quickly(
    features: Tensor, weights: Tensor, logits: Tensor, classes: Tensor | None = None
) -> Tensor:
    found = rivals(logits)
    maps = torch.einsum("kd,bdhw->bkhw", weights, features)
    if classes is not None:
        rows = weights[classes.expand(len(features), -1)]
        maps = torch.einsum("bkd,bdhw->bkhw", rows, features)
    of_rivals = torch.einsum("bkd,bdhw->bkhw", rival_rows(weights, found), features)
    return contrasted(maps, of_rivals, found, classes)


LOGITS = {
    "undecided": torch.tensor([[0.1, -0.3, 0.2, 0.0], [1.0, 2.0, -1.0, 0.5]]),
    "sure": torch.tensor([[30.0, 2.0, 1.0, 0.0], [0.0, -40.0, 90.0, 60.0]]),
    "two alike": torch.tensor([[50.0, 50.0, 1.0, 0.0], [3.0, 3.0, 3.0, 3.0]]),
}


@pytest.mark.parametrize("case", LOGITS)
def test_every_way_to_ask_gives_the_formula(case: str) -> None:
    logits = LOGITS[case]
    torch.manual_seed(0)
    features, weights = torch.randn(2, 6, 3, 2), torch.randn(4, 6)
    everything = torch.arange(4).expand(2, 4)
    expected = slowly(features, weights, logits, everything)
    assert_close(quickly(features, weights, logits).double(), expected, 2e-6)
    chosen = torch.tensor([[3, 0, 3], [2, 2, 1]])
    expected = slowly(features, weights, logits, chosen)
    assert_close(quickly(features, weights, logits, chosen).double(), expected, 2e-6)
    shared = torch.tensor([2, 0])
    expected = slowly(features, weights, logits, shared.expand(2, 2))
    assert_close(quickly(features, weights, logits, shared).double(), expected, 2e-6)


def test_two_classes_are_each_others_rivals() -> None:
    features, weights = torch.randn(1, 5, 2, 2), torch.randn(2, 5)
    found = quickly(features, weights, torch.tensor([[200.0, 0.0]]))
    difference = torch.einsum("d,dhw->hw", weights[0] - weights[1], features[0])
    assert_close(found[0, 0], difference, 1e-5)
    assert_close(found[0, 1], -difference, 1e-5)


def test_it_is_the_gradient_of_the_log_odds() -> None:
    """Of features whose average a linear layer reads, times them and the number of places."""
    torch.manual_seed(1)
    weights = torch.randn(5, 7, dtype=torch.float64)
    features = torch.randn(1, 7, 2, 3, dtype=torch.float64, requires_grad=True)
    logits = features.mean(dim=(2, 3)) @ weights.T
    found = quickly(features.detach(), weights, logits.detach())
    for k in range(5):
        p = logits.softmax(dim=1)[0, k]
        (gradient,) = torch.autograd.grad((p / (1 - p)).log(), features, retain_graph=True)
        assert_close(found[0, k], (gradient * features).sum(dim=1)[0].detach() * 6, 1e-9)


def test_what_all_classes_share_decides_nothing() -> None:
    features, weights = torch.randn(2, 6, 3, 3).double(), torch.randn(4, 6).double()
    logits = LOGITS["undecided"].double()
    moved = quickly(features, weights + torch.randn(6).double(), logits)
    assert_close(moved, quickly(features, weights, logits), 1e-9)
