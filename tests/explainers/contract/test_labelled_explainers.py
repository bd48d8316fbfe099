"""One explainer, several, or something else."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import ttame
from ttame.errors import ExplainerError
from ttame.explainers.contract.labelled_explainers import labelled_explainers
from ttame.explainers.known_explainers import make_explainer
from ttame.testing import tiny_classifier


def test_one_several_and_labelled_ones_are_understood() -> None:
    classifier = tiny_classifier()
    one, other = (make_explainer(name, classifier) for name in ("grad_cam", "random"))
    assert labelled_explainers(one) == {"grad_cam": one}
    assert labelled_explainers([one, other]) == {"grad_cam": one, "random": other}
    assert labelled_explainers({"mine": one}) == {"mine": one}
    assert labelled_explainers({}) == {}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (tiny_classifier(), r"a Classifier as explainer.*make_explainer\('grad_cam', classifier\)"),
        (torch.nn.Linear(1, 1), r"a Linear as explainer.*ttame.Classifier\(network"),
        ("grad_cam", r"a str as explainer.*make_explainer\('grad_cam', classifier\)"),
        ({"mine": "grad_cam"}, "a str as explainer"),
        ([1], "an int as explainer"),
    ],
)
def test_anything_else_is_one_line(given: Any, words: str) -> None:
    with pytest.raises(ExplainerError, match=words):
        labelled_explainers(given)


def test_swapped_arguments_are_named(tmp_path: Any) -> None:
    explainer = make_explainer("random", tiny_classifier())
    with pytest.raises(ExplainerError, match="the explainer random as photos.*photos first"):
        ttame.explain(explainer, ["photo.jpg"], tmp_path / "out")  # type: ignore[arg-type]
