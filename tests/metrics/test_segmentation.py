"""Segmentation by slow loops, by scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.metrics.measured import batch_of, one, where
from ttame.metrics.metric import Metric
from ttame.metrics.protocol import Protocol
from ttame.metrics.segmentation import (
    SEGMENTATION,
    average_precision,
    mean_iou,
    overlaps,
    pixel_accuracy,
)

PROTOCOL = Protocol("test")


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


def test_the_mean_itself_is_background() -> None:
    maps = one([0, 1, 2])
    assert pixel_accuracy(maps, where([0, 0, 1])).tolist() == [100.0]
    assert overlaps(maps, where([0, 1, 1]))["intersection.foreground"].tolist() == (
        pytest.approx([1 / 3])
    )
