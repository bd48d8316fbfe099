"""Passes are counted as images, forwards and backwards, tails apart."""

from __future__ import annotations

import pytest
import torch

from tests.tiny_networks import TINY, tiny_cnn
from ttame.explainers.known_explainers import make_explainer
from ttame.networks.pass_counter import PassCount, counting_passes


@pytest.mark.parametrize(
    ("method", "options", "expected"),
    [
        ("cam", {}, PassCount(2, 0, 0)),
        ("grad_cam", {}, PassCount(2, 2, 0)),
        ("input_x_gradient", {}, PassCount(2, 2, 0)),
        # The prediction, five steps for each image, and one that measures memory.
        ("integrated_gradients", {"steps": 5}, PassCount(13, 11, 0)),
    ],
)
def test_methods_cost_what_their_cards_say(
    method: str, options: dict[str, int], expected: PassCount
) -> None:
    classifier = tiny_cnn()
    explainer = make_explainer(method, classifier, **options)
    images = torch.randn(2, 3, 32, 32)
    with counting_passes() as count:
        explainer(images)
    assert count == expected


def test_perturbations_are_counted_in_the_folded_copy_too() -> None:
    explainer = make_explainer("rise", tiny_cnn(), masks=20)
    with counting_passes() as count:
        explainer(torch.randn(1, 3, 32, 32))
    assert 21 <= count.forward <= 23


def test_tails_are_counted_apart() -> None:
    classifier = TINY["cnn"]()
    explainer = make_explainer("ablation_cam", classifier)
    with counting_passes() as count:
        explainer(torch.randn(1, 3, 32, 32))
    assert count.forward <= 5
    assert count.tail >= 10


def test_nothing_is_counted_outside() -> None:
    classifier = tiny_cnn()
    with counting_passes() as outer:
        classifier.logits(torch.zeros(1, 3, 32, 32))
        with counting_passes() as inner:
            classifier.logits(torch.zeros(2, 3, 32, 32))
    classifier.logits(torch.zeros(4, 3, 32, 32))
    assert (outer.forward, inner.forward) == (3, 2)
