"""ADCC against the published numbers, the authors' code, and numbers worked out by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.conftest import Golden, assert_close
from tests.golden_networks import golden_cnn
from tests.metrics.measured import batch_of, brightness, grey, own_picture, plain
from ttame.classifiers.classifier import Classifier
from ttame.explainers.methods.activation.grad_cam import GradCam
from ttame.images.preprocessing import Preprocessing
from ttame.metrics.adcc import ADCC, COHERENCY, COMPLEXITY, adcc, harmonic_mean
from ttame.metrics.measuring_batch import MeasuringBatch
from ttame.metrics.protocol import Protocol

PUBLISHED = [  # drop, coherency, complexity, ADCC: METHODS 9.3, all rows
    (66.42, 69.20, 15.65, 53.52),
    (32.88, 89.34, 26.33, 75.65),
    (26.13, 93.83, 20.27, 81.66),
    (21.51, 92.24, 27.48, 80.27),
    (42.90, 81.03, 23.04, 69.98),
    (17.85, 98.18, 44.63, 74.24),
    (12.81, 98.35, 41.78, 77.30),
    (20.68, 97.38, 33.60, 79.08),
    (32.99, 82.80, 22.24, 75.27),
    (12.82, 97.84, 43.99, 75.86),
    (8.61, 98.12, 42.05, 78.14),
    (15.69, 96.68, 32.90, 80.84),
    (55.31, 79.41, 13.17, 64.53),
    (33.57, 70.22, 53.54, 59.03),
    (25.82, 88.61, 46.35, 69.11),
    (55.85, 80.67, 12.53, 64.54),
    (31.42, 67.62, 54.21, 58.58),
    (27.69, 84.58, 41.16, 70.34),
]
OFF_IN_PRINT = {53.52, 69.98}
"""Grad-CAM on VGG-16 and ResNet-18: 0.031 and 0.035 off, more than rounding explains."""

PLAIN = Protocol("test")
AUTHORS = Protocol("authors", masked_in="normalised", map_scaling="pixels")


@pytest.mark.parametrize(("drop", "coherency", "complexity", "published"), PUBLISHED)
def test_combining_means_gives_the_published_numbers(
    drop: float, coherency: float, complexity: float, published: float
) -> None:
    (column,) = ADCC.columns(ADCC, PLAIN)
    assert column.combine is not None
    means = {"adcc.drop": drop, "adcc.coherency": coherency, "adcc.complexity": complexity}
    assert set(column.parts) == set(means)
    found = column.combine({name: np.array([mean, mean]) for name, mean in means.items()})
    tolerance = 0.036 if published in OFF_IN_PRINT else 0.02
    assert found.tolist() == pytest.approx([published, published], abs=tolerance)


def golden_batch() -> tuple[Golden, MeasuringBatch]:
    golden = Golden("adcc")
    network = golden_cnn(golden.under("weights."))
    classifier = Classifier(network, preprocessing=Preprocessing.imagenet(64), taps=["relu3"])
    grad_cam = GradCam(classifier)

    def explain(images: Tensor, classes: Tensor) -> Tensor:
        return grad_cam(images, classes).maps[:, 0]

    batch = MeasuringBatch(
        probabilities=classifier.probabilities,
        images=golden["input.images"],
        maps=golden["output.saliency"][:, 0],
        classes=golden["output.predicted_class"],
        preprocessing=classifier.preprocessing,
        explain=explain,
        numbers=(0, 1, 2),
    )
    return golden, batch


def test_every_image_equals_the_authors_code() -> None:
    golden, batch = golden_batch()
    # Its maps are scaled on the grid and again in pixels, which is what ours become too.
    found = ADCC.measure(batch, AUTHORS)
    assert_close(found["adcc.coherency"], 100 * golden["output.coherency"], 2e-5)
    assert_close(found["adcc.complexity"], 100 * golden["output.complexity"], 2e-5)
    assert_close(found["adcc.drop"], 100 * golden["output.average_drop"], 2e-5)
    assert_close(found["adcc"], 100 * golden["output.adcc"], 2e-5)
    assert torch.equal(COHERENCY.measure(batch, AUTHORS)["coherency"], found["adcc.coherency"])
    assert torch.equal(COMPLEXITY.measure(batch, AUTHORS)["complexity"], found["adcc.complexity"])


def test_the_function_equals_the_metric_and_the_authors_code() -> None:
    golden, batch = golden_batch()
    arguments = (batch.probabilities, batch.explain, batch.images, batch.maps, batch.classes)
    found = adcc(*arguments, batch.preprocessing)
    assert_close(found, 100 * golden["output.adcc"], 2e-5)


def test_four_pixels_worked_out_by_hand() -> None:
    # Map 0, 1, 2, 4 → mask 0, ¼, ½, 1, mean 7/16. Pixels .2, .4, .8, .6 → 0, .1, .4, .6.
    # Drop: mean .5 → .275: 45 %. Pearson of (0, ¼, ½, 1) and (0, .1, .4, .6), the masked picture
    # being its own map: deviations ×16 −7, −3, 1, 9 and ×40 −11, −7, 5, 13:
    # (77 + 21 + 5 + 117) / √(140 · 364) = 220 / √50960 = .974558
    images, maps = grey(0.2, 0.4, 0.8, 0.6), torch.tensor([[[0.0, 1.0, 2.0, 4.0]]])
    found = ADCC.measure(batch_of(images, maps, torch.tensor([0])), PLAIN)
    coherency = 50 * (1 + 220 / 50960**0.5)
    assert found["adcc.coherency"].tolist() == pytest.approx([coherency], rel=1e-5)
    assert found["adcc.complexity"].tolist() == pytest.approx([43.75], rel=1e-5)
    assert found["adcc.drop"].tolist() == pytest.approx([45.0], rel=1e-5)
    by_hand = 3 / (1 / coherency + 1 / 56.25 + 1 / 55)
    assert found["adcc"].tolist() == pytest.approx([by_hand], rel=1e-5)


def test_the_masked_image_is_explained_for_the_explained_class() -> None:
    images, maps = grey(0.2, 0.4, 0.8, 0.6), torch.tensor([[[0.0, 1.0, 2.0, 4.0]]])
    found = ADCC.measure(batch_of(images, maps, torch.tensor([1])), PLAIN)
    opposite = 50 * (1 - 220 / 50960**0.5)
    assert found["adcc.coherency"].tolist() == pytest.approx([opposite], rel=1e-4)
    assert found["adcc.drop"].tolist() == [0.0]


def test_a_binary_protocol_keeps_soft_masks() -> None:
    images, maps = grey(0.2, 0.4, 0.8, 0.6), torch.tensor([[[0.0, 1.0, 2.0, 4.0]]])
    batch = batch_of(images, maps, torch.tensor([0]))
    binary = dataclasses.replace(PLAIN, mask="binary")
    soft = ADCC.measure(batch_of(images, maps, torch.tensor([0])), PLAIN)
    found = ADCC.measure(batch, binary)
    assert all(torch.equal(found[name], soft[name]) for name in soft)


def test_the_protocol_says_where_masks_multiply() -> None:
    _, batch = golden_batch()
    raw = dataclasses.replace(AUTHORS, masked_in="raw")
    black, mean_colour = ADCC.measure(batch, raw), ADCC.measure(batch, AUTHORS)
    assert not torch.allclose(black["adcc.drop"], mean_colour["adcc.drop"], rtol=1e-2)
    assert not torch.allclose(black["adcc.coherency"], mean_colour["adcc.coherency"], rtol=1e-3)


def test_a_constant_map_coheres_with_nothing() -> None:
    images = grey(0.2, 0.4, 0.8, 0.6)
    found = ADCC.measure(batch_of(images, torch.ones(1, 1, 4), torch.tensor([0])), PLAIN)
    assert found["adcc.coherency"].tolist() == [50.0]
    assert found["adcc.complexity"].tolist() == [0.0]
    assert found["adcc.drop"].tolist() == [100.0]
    assert found["adcc"].tolist() == [0.0]


@pytest.mark.parametrize("worst", [(0.0, 50.0, 50.0), (50.0, 100.0, 50.0), (0.0, 100.0, 100.0)])
def test_the_worst_of_one_is_the_worst_of_all(worst: tuple[float, float, float]) -> None:
    assert harmonic_mean(*(torch.tensor([value]) for value in worst)).tolist() == [0.0]
    assert harmonic_mean(*(np.array([value]) for value in worst)).tolist() == [0.0]


def test_equal_parts_are_their_own_mean() -> None:
    assert harmonic_mean(np.array([70.0]), np.array([30.0]), np.array([30.0])).tolist() == (
        pytest.approx([70.0])
    )


def test_averaging_per_image_has_a_column_without_parts() -> None:
    per_image = dataclasses.replace(PLAIN, adcc_average="per image")
    (column,) = ADCC.columns(ADCC, per_image)
    assert (column.key, column.parts, column.combine) == ("adcc", (), None)


def test_metrics_of_a_batch_share_their_passes() -> None:
    calls = []

    def explain(images: Tensor, classes: Tensor) -> Tensor:
        calls.append(len(images))
        return own_picture(images, classes)

    batch = batch_of(torch.rand(2, 3, 4, 6), torch.rand(2, 2, 3), torch.tensor([0, 1]), explain)
    for metric in (ADCC, COHERENCY, COMPLEXITY):
        metric.measure(batch, PLAIN)
    assert calls == [2]


def test_a_batch_equals_its_images_and_nothing_is_changed() -> None:
    images, maps, classes = torch.rand(3, 3, 4, 6), torch.randn(3, 2, 3), torch.tensor([0, 1, 0])
    kept = (images.clone(), maps.clone())
    arguments = (brightness, own_picture, images, maps, classes, plain(4, 6))
    together = adcc(*arguments, space="raw", map_scaling="grid")
    assert torch.equal(images, kept[0]) and torch.equal(maps, kept[1])
    for i in range(3):
        one = slice(i, i + 1)
        alone = adcc(
            brightness, own_picture, images[one], maps[one], classes[one], plain(4, 6),
            space="raw", map_scaling="grid",
        )  # fmt: skip
        assert float(alone) == pytest.approx(float(together[i]), rel=1e-5)
