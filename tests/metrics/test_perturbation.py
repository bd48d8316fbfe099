"""Perturbation curves on images whose answers can be worked out by hand."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from tests.colour_findings import colour_classifier, finding, red_and_green
from tests.metrics.measured import batch_of, brightness, grey, plain
from ttame.images.preprocessing import Preprocessing
from ttame.metrics.perturbation import (
    NEGATIVE_PERTURBATION,
    POSITIVE_PERTURBATION,
    PixelOrder,
    blackened_images,
    perturbation,
    perturbation_curve,
)
from ttame.metrics.pixel_ranking import most_relevant_first
from ttame.metrics.protocol import Protocol

FIRST = torch.tensor([0])
QUARTERS = (0.25, 0.5, 0.75)


@pytest.mark.parametrize(
    ("order", "area"),
    [
        # .65 → .4, .2, .1: the class falls at the first pixel.
        ("most relevant first", 100 * 0.125),
        # .65 → .55, .45, .25: it falls at the third.
        ("least relevant first", 100 * (0.25 + 0.125)),
    ],
)
def test_four_pixels_by_hand(order: PixelOrder, area: float) -> None:
    image = grey(1.0, 0.8, 0.4, 0.4)
    maps = torch.tensor([[[9.0, 3.0, 2.0, 1.0]]])
    found = perturbation(brightness, image, maps, FIRST, plain(1, 4), order=order, shares=QUARTERS)
    assert found.item() == pytest.approx(area)


def test_the_measured_curve_by_hand() -> None:
    batch = batch_of(grey(1.0, 0.8, 0.4, 0.4), torch.tensor([[[9.0, 3.0, 2.0, 1.0]]]), FIRST)
    values = POSITIVE_PERTURBATION.measure(batch, Protocol("chefer", removed_shares=QUARTERS))
    assert [values[f"positive_perturbation.curve@{place}"].item() for place in (0, 25, 50)] == [
        100.0,
        0.0,
        0.0,
    ]


def always(images: Tensor) -> Tensor:
    return torch.tensor([[1.0, 0.0]]).expand(len(images), -1)


def test_the_width_of_the_curve_is_not_divided_away() -> None:
    images, maps = torch.rand(2, 3, 10, 10), torch.rand(2, 5, 5)
    classes = torch.tensor([0, 1])
    area = perturbation(always, images, maps, classes, plain(10, 10))
    assert area.tolist() == pytest.approx([90, 0])


def test_the_clean_accuracy_is_the_first_point() -> None:
    images, maps = torch.rand(4, 3, 10, 10), torch.rand(4, 5, 5)
    classes = torch.tensor([0, 1, 0, 1])
    batch = batch_of(images, maps, classes)
    clean = 100 * (brightness(images).argmax(dim=1) == classes).float()
    for metric in (POSITIVE_PERTURBATION, NEGATIVE_PERTURBATION):
        values = metric.measure(batch, Protocol("chefer", removed_shares=(0.001, 0.5)))
        assert torch.equal(values[f"{metric.name}.curve@0"], clean)
        # Less than one pixel is none.
        assert torch.equal(values[f"{metric.name}.curve@0.1"], clean)


def test_removed_pixels_are_black_before_normalisation() -> None:
    preprocessing = Preprocessing((6, 5), (6, 5))
    images, maps = torch.randn(2, 3, 6, 5), torch.randn(2, 6, 5)
    protocol = Protocol("chefer", removed_shares=(0.1, 0.4))
    order = most_relevant_first(maps)
    for first, name in ((order, "most relevant first"), (order.flip(1), "least relevant first")):
        versions = list(blackened_images(images, maps, preprocessing, protocol, name))  # type: ignore[arg-type]
        for version, count in zip(versions, (3, 12), strict=True):
            pixels = preprocessing.denormalise(version).flatten(2)
            for row in range(2):
                gone = first[row, :count]
                assert pixels[row][:, gone].abs().max() < 1e-6
                stays = torch.ones(30, dtype=torch.bool)
                stays[gone] = False
                assert torch.allclose(
                    version.flatten(2)[row][:, stays], images.flatten(2)[row][:, stays], atol=1e-6
                )


def test_masking_in_normalised_space_leaves_the_mean_colour() -> None:
    images, maps = torch.randn(1, 3, 4, 4), torch.randn(1, 4, 4)
    protocol = Protocol("chefer", removed_shares=(0.5,), masked_in="normalised")
    (version,) = blackened_images(
        images, maps, Preprocessing.imagenet(4), protocol, "most relevant first"
    )
    assert (version == 0).all(dim=1).sum() == 8


def test_metrics_equal_the_function_in_batches_and_alone() -> None:
    images, maps = torch.rand(5, 3, 9, 7), torch.randn(5, 3, 3)
    classes = torch.tensor([0, 1, 0, 1, 1])
    protocol = Protocol("chefer", removed_shares=(0.1, 0.4, 0.9))
    batch = batch_of(images, maps, classes)
    orders: tuple[PixelOrder, ...] = ("most relevant first", "least relevant first")
    for metric, order in zip((POSITIVE_PERTURBATION, NEGATIVE_PERTURBATION), orders, strict=True):
        together = metric.measure(batch, protocol)
        assert set(together) == {
            metric.name,
            *(f"{metric.name}.curve@{place}" for place in ("0", "10", "40", "90")),
        }
        area = perturbation(
            brightness, images, maps, classes, plain(9, 7), order=order, shares=(0.1, 0.4, 0.9)
        )
        assert torch.equal(together[metric.name], area)
        for row in range(5):
            single = dataclasses.replace(
                batch,
                images=images[[row]],
                maps=maps[[row]],
                classes=classes[[row]],
                numbers=(row,),
            )
            for key, values in metric.measure(single, protocol).items():
                assert torch.equal(values, together[key][[row]]), key


def test_a_good_map_has_a_small_positive_and_a_large_negative_area() -> None:
    images = torch.rand(6, 3, 8, 8) ** 2 + 0.3
    classes, maps = torch.zeros(6).long(), images.mean(dim=1)

    def answers(images: Tensor) -> Tensor:
        return brightness(images).log().mul(20).softmax(dim=1)

    good = perturbation(answers, images, maps, classes, plain(8, 8)).mean()
    bad = perturbation(answers, images, -maps, classes, plain(8, 8)).mean()
    assert good <= bad
    assert (POSITIVE_PERTURBATION.better, NEGATIVE_PERTURBATION.better) == ("lower", "higher")


def test_a_finding_counts_by_its_own_probability() -> None:
    """Of 64 columns 24 are green, a finding of probability 0.68, next to a more probable red."""
    classifier = colour_classifier()
    images = red_and_green()[None].float() / 255
    assert float(classifier.probabilities(images)[0, 1]) == pytest.approx(finding(24 / 64))
    green = torch.tensor([1])
    for exclusive, points in ((False, [100.0, 100.0]), (True, [0.0, 100.0])):
        curve = perturbation_curve(
            classifier.probabilities, images, images[:, 1], green, classifier.preprocessing,
            order="least relevant first", shares=(0.4,), exclusive=exclusive,
        )  # fmt: skip
        assert [float(value) for value in curve.values()] == points
    # Without 40 % of the picture, all of them green, nothing of the finding is left.
    gone = perturbation(
        classifier.probabilities, images, images[:, 1], green, classifier.preprocessing,
        shares=(0.4,), exclusive=False,
    )  # fmt: skip
    assert float(gone) == pytest.approx(100 * 0.4 / 2)
