"""Targets as they are asked for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ttame.classifiers.targets import Target, weighting_in_words
from ttame.errors import ClassSelectionError

NAMES = ("cat", "dog", "tench, Tinca tinca")
SCORES = torch.tensor([[3.0, 1.0, 0.5], [0.0, 2.0, 7.0]])


def test_classes_are_those_of_the_sugar() -> None:
    targets = Target.of("top2").explained(SCORES, NAMES)
    assert targets.classes.tolist() == [[0, 1], [2, 1]]
    assert targets.of(SCORES).tolist() == [[3, 1], [7, 2]]
    assert targets.labels == ()
    assert targets.repeated(2).classes.tolist() == [[0, 1], [2, 1], [0, 1], [2, 1]]
    assert targets.columns(slice(1, 2)).of(SCORES).tolist() == [[1], [2]]


def test_a_contrast_is_the_difference_of_two_scores() -> None:
    targets = Target.contrast("cat", "dog").explained(SCORES, NAMES)
    assert targets.of(SCORES).tolist() == [[2], [-2]]
    assert targets.labels == (("cat rather than dog",),) * 2
    assert targets.classes.tolist() == [[0], [0]]
    top = Target.contrast("top1", "cat").explained(SCORES[1:], NAMES)
    assert top.labels == (("tench, Tinca tinca rather than cat",),)
    several = Target.contrast(torch.tensor([[0, 2], [2, 0]]), 1).explained(SCORES)
    assert several.of(SCORES).tolist() == [[2, -0.5], [5, -2]]
    assert several.labels[1] == ("class 2 rather than class 1", "class 0 rather than class 1")
    assert several[torch.tensor([1, 1])].of(SCORES[[1, 1]]).tolist() == [[5, -2], [5, -2]]


@pytest.mark.parametrize(
    ("weights", "values"),
    [
        (torch.tensor([1.0, -2.0, 0.0]), [[1], [-4]]),
        (torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]), [[3], [4.5]]),
        (torch.tensor([[[1, 0, 0], [0, 2, 0]], [[0, 0, 1], [0, 0, -1]]]), [[3, 2], [7, -7]]),
    ],
)
def test_weights_are_for_all_images_for_each_or_several_for_each(
    weights: Tensor, values: list[list[float]]
) -> None:
    targets = Target.weights(weights).explained(SCORES, NAMES)
    assert targets.of(SCORES).tolist() == values


def test_a_class_stands_for_a_weighting() -> None:
    weights = torch.tensor([[0.5, 0.6, -3.0], [0.0, -1.0, -2.0]])
    targets = Target.weights(weights).explained(SCORES, NAMES)
    assert targets.classes.tolist() == [[1], [2]]
    named = Target.weights(weights, name="fur").explained(SCORES, NAMES)
    assert named.labels == (("fur",), ("fur",))
    both = Target.weights(torch.stack([weights, weights], 1), name="fur").explained(SCORES, NAMES)
    assert both.labels[0] == ("fur 1", "fur 2")


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([0, 1, 0], "dog"),
        ([0, -1, 1], "tench, Tinca tinca rather than dog"),
        ([1, 1, 0], "1 cat + 1 dog"),
        ([-0.25, 0, 2], "2 tench, Tinca tinca − 0.25 cat"),
        ([0, -1, 0], "−1 dog"),
        ([-2, -1, 0], "−2 cat − 1 dog"),
    ],
)
def test_weightings_in_words(weights: list[float], words: str) -> None:
    assert weighting_in_words(weights, NAMES) == words


def test_long_weightings_are_cut() -> None:
    assert weighting_in_words([1, 2, 3, 4, 0]) == "4 class 3 + 3 class 2 + 2 class 1 and 1 more"


def test_a_function_names_itself_or_is_named() -> None:
    def margin(scores: Tensor) -> Tensor:
        return scores[:, 0] - scores[:, 1]

    targets = Target.function(margin).explained(SCORES, NAMES)
    assert targets.of(SCORES).tolist() == [[2], [-2]]
    assert targets.classes.tolist() == [[0], [2]]
    assert targets.labels == (("margin",), ("margin",))
    twice = Target.function(lambda scores: scores[:, :2], name="both").explained(SCORES)
    assert twice.labels[0] == ("both 1", "both 2")
    assert twice.columns(slice(1, 2)).of(SCORES).tolist() == [[1], [2]]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda scores: scores.mean(),
            r"returned \(\) for 2 images; allowed: .*\(2,\) or \(2, K\)",
        ),
        (lambda scores: 3.0, "returned float for 2 images"),
        (lambda scores: scores[:1, 0], r"returned \(1, 1\) for 2 images"),
        (
            lambda scores: scores[:, 0] - scores.mean(),
            "different values for an image alone and in a batch",
        ),
        (lambda scores: scores.T[:, :2], "returned"),
    ],
)
def test_functions_that_cannot_be(function: Any, message: str) -> None:
    with pytest.raises(ClassSelectionError, match=message):
        Target.function(function).explained(SCORES)


def test_a_function_that_cuts_the_graph_is_refused_where_a_gradient_is_needed() -> None:
    targets = Target.function(lambda scores: scores.detach()[:, 0]).explained(SCORES)
    assert targets.of(SCORES).tolist() == [[3], [0]]
    with pytest.raises(ClassSelectionError, match="have no gradient.*without detach"):
        targets.of(SCORES.clone().requires_grad_())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Target.contrast("cat", "cat"), "cat rather than itself, for input 0"),
        (lambda: Target.contrast("top1", "cat"), "cat rather than itself, for input 0"),
        (lambda: Target.contrast("cat", "top2"), "1 classes rather than 2; allowed: one other"),
        (lambda: Target.contrast("cat", "dgo"), "unknown class 'dgo'.*dog"),
        (lambda: Target.weights(torch.ones(4)), r"weights of shape \(4,\) for 2 images.*\(3,\)"),
        (lambda: Target.weights(torch.ones(3, 3)), r"weights of shape \(3, 3\) for 2 images"),
        (lambda: Target.weights(torch.ones(1, 1, 1, 3)), r"weights \(1, 1, 1, 3\)"),
        (lambda: Target.weights([1, 2, 3]), "weights list"),  # type: ignore[arg-type]
        (lambda: Target.weights(torch.zeros(3)), "0 for every class"),
        (lambda: Target.weights(torch.tensor([1.0, torch.nan, 0])), "NaN"),
    ],
)
def test_targets_that_cannot_be(make: Any, message: str) -> None:
    with pytest.raises(ClassSelectionError, match=message):
        make().explained(SCORES, NAMES)


def test_targets_say_how_they_were_made() -> None:
    assert repr(Target.contrast("cat", rather_than="dog")) == (
        "Target.contrast('cat', rather_than='dog')"
    )
    assert repr(Target.of("top3")) == "Target.of('top3')"
    assert repr(Target.weights(torch.ones(2, 3))) == "<Target.weights: a weighting, 2 x 3>"
    assert repr(Target.function(torch.sum, name="all")) == "<Target.function: all>"
