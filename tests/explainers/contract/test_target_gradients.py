"""Gradients of several targets from one graph."""

from __future__ import annotations

import pytest
import torch

from ttame.classifiers.explained_targets import ExplainedClasses
from ttame.errors import ExplainerError
from ttame.explainers.contract.differentiation import differentiating, requiring_gradients
from ttame.explainers.contract.target_gradients import target_gradients


def test_each_image_gets_the_gradient_of_its_own_class() -> None:
    weight = torch.randn(4, 5)
    images = torch.randn(3, 5, requires_grad=True)
    logits = (images @ weight.T) ** 2
    classes = torch.tensor([[0, 3], [1, 1], [2, 0]])
    found = list(target_gradients(logits, ExplainedClasses(classes), images))
    assert len(found) == 2
    for k, gradient in enumerate(found):
        for index in range(3):
            row = weight[classes[index, k]]
            expected = 2 * (images[index] @ row) * row
            assert torch.allclose(gradient[index], expected, atol=1e-5)


def test_logits_without_a_graph_are_an_error() -> None:
    with pytest.raises(ExplainerError, match="no gradient here"):
        targets = ExplainedClasses(torch.tensor([[0]]))
        list(target_gradients(torch.zeros(1, 2), targets, torch.zeros(1)))


def test_recording_is_switched_back() -> None:
    with torch.no_grad():
        with differentiating():
            assert torch.is_grad_enabled()
        assert not torch.is_grad_enabled()


def test_the_copy_leaves_the_callers_images_alone() -> None:
    images = torch.zeros(2)
    assert requiring_gradients(images).requires_grad
    assert not images.requires_grad
    assert not requiring_gradients(torch.zeros(2, dtype=torch.int64)).requires_grad
