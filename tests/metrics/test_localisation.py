"""Pointing game, energy inside and segmentation by hand, by slow loops and by identities."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.metrics.measured import batch_of
from ttame.errors import TtameError
from ttame.metrics.energy_inside import ENERGY_INSIDE, energy_inside
from ttame.metrics.metric import Metric
from ttame.metrics.pointing_game import POINTING_GAME, near, pointing_game
from ttame.metrics.protocol import Protocol
from ttame.metrics.segmentation import (
    SEGMENTATION,
    average_precision,
    mean_iou,
    overlaps,
    pixel_accuracy,
)

PROTOCOL = Protocol("test")
LOCALISATION = (POINTING_GAME, ENERGY_INSIDE, SEGMENTATION)


def one(*rows: list[float]) -> Tensor:
    return torch.tensor([rows], dtype=torch.float32)


def where(*rows: list[int]) -> Tensor:
    return torch.tensor([rows], dtype=torch.bool)


def test_pointing_by_hand() -> None:
    maps = one([0, 1, 9, 2], [0, 0, 0, 0])
    assert pointing_game(maps, where([0, 0, 1, 0], [0, 0, 0, 0])).tolist() == [100.0]
    assert pointing_game(maps, where([1, 1, 0, 1], [1, 1, 1, 1])).tolist() == [0.0]
    two_maxima = one([0, 9, 9, 2], [0, 0, 0, 0])
    assert pointing_game(two_maxima, where([0, 0, 1, 0], [0, 0, 0, 0])).tolist() == [50.0]


def test_tolerance_is_euclidean() -> None:
    maps = torch.zeros(1, 9, 9)
    maps[0, 4, 4] = 1
    target = torch.zeros(1, 9, 9, dtype=torch.bool)
    target[0, 1, 1] = True  # √18 = 4.24 pixels away
    assert pointing_game(maps, target, tolerance=4).tolist() == [0.0]
    assert pointing_game(maps, target, tolerance=5).tolist() == [100.0]


def test_near_counted_one_by_one() -> None:
    targets = torch.rand(2, 7, 9) > 0.93
    for distance in (0, 1, 2, 3):
        found = near(targets, distance)
        for b, y, x in itertools.product(range(2), range(7), range(9)):
            slow = any(
                (y - v) ** 2 + (x - u) ** 2 <= distance**2 for v, u in targets[b].nonzero().tolist()
            )
            assert bool(found[b, y, x]) == slow
    with pytest.raises(TtameError, match="tolerance -1"):
        near(targets, -1)


def test_energy_by_hand() -> None:
    # 0, 1, 2, 5 above the minimum −1 → 0, .2, .4, 1: 1.4 of 1.6
    maps = one([-1, 0], [1, 4])
    assert energy_inside(maps, where([0, 0], [1, 1])).tolist() == pytest.approx([87.5])
    assert energy_inside(maps, where([1, 1], [1, 1])).tolist() == pytest.approx([100.0])


def test_a_constant_map_scores_what_chance_does() -> None:
    target = where([1, 1, 1, 0])
    constant = torch.full((1, 1, 4), 3.0)
    assert pointing_game(constant, target).tolist() == [75.0]
    assert energy_inside(constant, target).tolist() == [75.0]


def slow_average_precision(scores: list[float], labels: list[bool]) -> float:
    total, recall_before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        chosen = [label for score, label in zip(scores, labels, strict=True) if score >= threshold]
        recall = sum(chosen) / sum(labels)
        total += (recall - recall_before) * sum(chosen) / len(chosen)
        recall_before = recall
    return total


def test_segmentation_equals_slow_loops() -> None:
    # Values of eighths at exact binary places, so that ties are ties.
    maps = torch.randint(0, 9, (4, 5, 6)).float()
    maps[:, 0, 0], maps[:, 0, 1] = 0, 8
    targets = torch.rand(4, 5, 6) > 0.4
    accuracy, precision = pixel_accuracy(maps, targets), average_precision(maps, targets)
    shares = overlaps(maps, targets)
    both, either = {True: 0, False: 0}, {True: 0, False: 0}
    for b in range(4):
        values = [value / 8 for value in maps[b].flatten().tolist()]
        truth = targets[b].flatten().tolist()
        mean = sum(values) / len(values)
        found = [value > mean for value in values]
        right = sum(f == t for f, t in zip(found, truth, strict=True))
        assert float(accuracy[b]) == pytest.approx(100 * right / 30)
        for side in (True, False):
            both[side] += sum(f == t == side for f, t in zip(found, truth, strict=True))
            either[side] += sum(side in pair for pair in zip(found, truth, strict=True))
        scores = [1 - value for value in values] + values
        labels = [not label for label in truth] + truth
        slow = slow_average_precision(scores, labels)
        assert float(precision[b]) == pytest.approx(100 * slow, rel=1e-5)
    means = {name: share.mean(dim=0, keepdim=True).numpy() for name, share in shares.items()}
    slow_iou = 50 * (both[True] / either[True] + both[False] / either[False])
    assert mean_iou(means).tolist() == pytest.approx([slow_iou], rel=1e-5)


def test_scikit_learn_agrees_on_average_precision() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    maps, targets = torch.randn(3, 6, 7), torch.rand(3, 6, 7) > 0.5
    low, high = maps.amin((1, 2), True), maps.amax((1, 2), True)
    values = ((maps - low) / (high - low)).flatten(1)
    for b, found in enumerate(average_precision(maps, targets).tolist()):
        truth = targets[b].flatten()
        expected = metrics.average_precision_score(
            torch.cat([~truth, truth]).numpy(), torch.cat([1 - values[b], values[b]]).numpy()
        )
        assert found == pytest.approx(100 * expected, rel=1e-5)


def test_a_perfect_map_is_perfect() -> None:
    targets = torch.zeros(1, 8, 8, dtype=torch.bool)
    targets[0, 2:5, 1:7] = True
    batch = batch_of(torch.rand(1, 3, 8, 8), targets.float(), torch.tensor([0]), targets=targets)
    for metric in LOCALISATION:
        for number in numbers_of(metric, batch_values(metric, batch)).values():
            assert number == pytest.approx(100)


def batch_values(metric: Metric, batch: object) -> dict[str, Tensor]:
    return metric.measure(batch, PROTOCOL)  # type: ignore[arg-type]


def numbers_of(metric: Metric, values: dict[str, Tensor]) -> dict[str, float]:
    """The columns' numbers, as the table makes them."""
    numbers = {}
    for column in metric.columns(metric, PROTOCOL):
        if column.combine is None:
            numbers[column.key] = float(values[column.key].nanmean())
        else:
            means = {part: np.array([float(values[part].nanmean())]) for part in column.parts}
            numbers[column.key] = float(column.combine(means)[0])
    return numbers


def test_iou_is_pooled_over_images_and_not_averaged() -> None:
    # Image 1 is all right, image 2 all wrong: pooled 4/8 + 4/8 + … differs from the mean of ratios.
    maps = torch.cat([one([0, 0], [1, 1]), one([0, 0], [0, 1])])
    targets = torch.cat([where([0, 0], [1, 1]), where([1, 1], [1, 0])])
    values = batch_values(
        SEGMENTATION, batch_of(torch.rand(2, 3, 2, 2), maps, torch.tensor([0, 1]), targets=targets)
    )
    numbers = numbers_of(SEGMENTATION, values)
    # Foreground: 2 + 0 shared of 2 + 4; background: 2 + 0 of 2 + 4.
    assert numbers["mean_iou"] == pytest.approx(100 / 3)
    assert numbers["pixel_accuracy"] == pytest.approx(50)


@pytest.mark.parametrize("metric", LOCALISATION, ids=lambda metric: metric.name)
def test_images_without_annotation_have_no_value(metric: Metric) -> None:
    images, maps = torch.rand(2, 3, 4, 6), torch.rand(2, 2, 3)
    targets = torch.zeros(2, 4, 6, dtype=torch.bool)
    targets[1, :2] = True
    values = metric.measure(batch_of(images, maps, torch.tensor([0, 1]), targets=targets), PROTOCOL)
    for value in values.values():
        assert math.isnan(value[0]) and not math.isnan(value[1])
    values = metric.measure(batch_of(images, maps, torch.tensor([0, 1])), PROTOCOL)
    assert all(bool(value.isnan().all()) for value in values.values())
    assert metric.needs == {"targets"}
    assert metric.per_class == (metric is POINTING_GAME)


@pytest.mark.parametrize("metric", LOCALISATION, ids=lambda metric: metric.name)
def test_a_batch_equals_its_images_and_nothing_is_changed(metric: Metric) -> None:
    images, maps = torch.rand(3, 3, 4, 6), torch.randn(3, 2, 3)
    targets, classes = torch.rand(3, 4, 6) > 0.5, torch.tensor([0, 1, 0])
    kept = maps.clone(), targets.clone()
    together = metric.measure(batch_of(images, maps, classes, targets=targets), PROTOCOL)
    assert torch.equal(maps, kept[0]) and torch.equal(targets, kept[1])
    for i in range(3):
        one_of = slice(i, i + 1)
        alone = metric.measure(
            batch_of(images[one_of], maps[one_of], classes[one_of], targets=targets[one_of]),
            PROTOCOL,
        )
        for name, value in alone.items():
            assert float(value) == pytest.approx(float(together[name][i]), rel=1e-5)


def test_the_protocol_says_how_maps_are_resized() -> None:
    maps, targets = torch.randn(2, 3, 3), torch.rand(2, 9, 9) > 0.5
    for metric in (energy_inside, average_precision):
        bilinear = metric(maps, targets)
        bicubic = metric(maps, targets, upsampling="bicubic")
        assert bool((bilinear != bicubic).all())


@pytest.mark.parametrize("metric", LOCALISATION, ids=lambda metric: metric.name)
def test_tables_follow_the_protocol(metric: Metric) -> None:
    images, maps, targets = (
        torch.rand(40, 3, 9, 9),
        torch.randn(40, 3, 3),
        torch.rand(40, 9, 9) > 0.5,
    )
    batch = batch_of(images, maps, torch.zeros(40, dtype=torch.int64), targets=targets)
    bilinear = metric.measure(batch, PROTOCOL)
    bicubic = metric.measure(batch, Protocol("other", upsampling="bicubic"))
    for name, value in bilinear.items():
        assert not torch.equal(value, bicubic[name])


def test_the_mean_itself_is_background() -> None:
    maps = one([0, 1, 2])
    assert pixel_accuracy(maps, where([0, 0, 1])).tolist() == [100.0]
    assert overlaps(maps, where([0, 1, 1]))["intersection.foreground"].tolist() == (
        pytest.approx([1 / 3])
    )
