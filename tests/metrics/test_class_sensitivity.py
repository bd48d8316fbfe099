"""Class sensitivity: a fixed picture ranks last."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.metrics.measured import batch_of, brightness, grey, own_picture
from tests.tiny_networks import tiny_cnn
from ttame.explainers.known_explainers import make_explainer
from ttame.metrics.class_sensitivity import (
    CLASS_SENSITIVITY,
    class_sensitivity,
    least_probable,
)
from ttame.metrics.measuring_batch import MeasuringBatch
from ttame.metrics.protocol import Protocol

PROTOCOL = Protocol("test")


def test_the_least_probable_other_class_is_compared() -> None:
    probabilities = torch.tensor([[0.1, 0.2, 0.7], [0.1, 0.2, 0.7], [0.4, 0.2, 0.4]])
    classes = torch.tensor([2, 0, 1])
    assert least_probable(probabilities, classes).tolist() == [0, 1, 0]
    asked = []

    def explain(images: Tensor, classes: Tensor) -> Tensor:
        asked.extend(classes.tolist())
        return torch.rand(len(images), 2, 2)

    images, maps = torch.rand(3, 3, 2, 2), torch.rand(3, 2, 2)
    class_sensitivity(explain, images, maps, classes, lambda _images: probabilities)
    assert asked == [0, 1, 0]


def test_it_is_the_correlation_of_the_raw_maps() -> None:
    images, maps, others = torch.rand(2, 3, 4, 4), torch.randn(2, 3, 2), torch.randn(2, 3, 2)
    found = class_sensitivity(
        lambda images, classes: others, images, maps, torch.tensor([0, 1]), brightness
    )
    slow = [
        float(np.corrcoef(a.flatten(), b.flatten())[0, 1])
        for a, b in zip(maps.numpy(), others.numpy(), strict=True)
    ]
    assert found.tolist() == pytest.approx(slow, abs=1e-6)


def test_opposite_maps_are_best_and_equal_ones_worst() -> None:
    images = grey(0.2, 0.4, 0.8, 0.6)
    maps = own_picture(images, torch.tensor([0]))
    opposite = batch_of(images, maps, torch.tensor([0]))
    assert CLASS_SENSITIVITY.measure(opposite, PROTOCOL)["class_sensitivity"].tolist() == (
        pytest.approx([-1.0])
    )
    for fixed in (maps, torch.zeros_like(maps), torch.full_like(maps, 0.1)):
        batch = batch_of(images, fixed, torch.tensor([0]), lambda _images, _classes, m=fixed: m)
        assert CLASS_SENSITIVITY.measure(batch, PROTOCOL)["class_sensitivity"].tolist() == [1.0]


def test_a_blank_map_for_the_other_class_is_another_map() -> None:
    images, maps = grey(0.2, 0.4, 0.8, 0.6), torch.tensor([[[0.0, 1.0, 2.0, 4.0]]])
    batch = batch_of(images, maps, torch.tensor([0]), lambda _images, _classes: 0 * maps)
    assert CLASS_SENSITIVITY.measure(batch, PROTOCOL)["class_sensitivity"].tolist() == [0.0]


def test_explainers_that_do_not_look_at_the_class_rank_last() -> None:
    classifier = tiny_cnn()
    images, classes = torch.randn(3, 3, 32, 32), torch.tensor([0, 3, 5])
    found = {}
    for name, options in (
        ("grad_cam", {"rectified": False}),
        ("centre_gaussian", {}),
        ("random", {}),
    ):
        explainer = make_explainer(name, classifier, **options)

        def explain(images: Tensor, classes: Tensor, explainer=explainer) -> Tensor:  # type: ignore[no-untyped-def]
            return explainer(images, classes).maps[:, 0]  # type: ignore[no-any-return]

        batch = MeasuringBatch(
            classifier.probabilities, images, explain(images, classes), classes,
            classifier.preprocessing, explain, (0, 1, 2),
        )  # fmt: skip
        found[name] = CLASS_SENSITIVITY.measure(batch, PROTOCOL)["class_sensitivity"].mean()
    assert float(found["grad_cam"]) < 0.9
    assert found["centre_gaussian"] == found["random"] == 1
    assert CLASS_SENSITIVITY.better == "lower"
