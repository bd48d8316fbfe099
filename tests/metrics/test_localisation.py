"""What the three metrics that need annotations have in common."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.metrics.measured import batch_of, where
from ttame.metrics.energy_inside import ENERGY_INSIDE, energy_inside
from ttame.metrics.metric import Metric
from ttame.metrics.pointing_game import POINTING_GAME, pointing_game
from ttame.metrics.protocol import Protocol
from ttame.metrics.segmentation import (
    SEGMENTATION,
    average_precision,
)

PROTOCOL = Protocol("test")

LOCALISATION = (POINTING_GAME, ENERGY_INSIDE, SEGMENTATION)


def test_a_constant_map_scores_what_chance_does() -> None:
    target = where([1, 1, 1, 0])
    constant = torch.full((1, 1, 4), 3.0)
    assert pointing_game(constant, target).tolist() == [75.0]
    assert energy_inside(constant, target).tolist() == [75.0]


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
