"""Metrics by a second classifier: the same maps and changes, other probabilities."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.metrics.measured import batch_of, brightness, grey
from ttame.errors import TtameError
from ttame.metrics.judged_metrics import judged_metric, with_judged
from ttame.metrics.known_metrics import METRICS, columns_of, known_metrics
from ttame.metrics.protocol import Protocol

PROTOCOL = Protocol("p", kept_shares=(1.0, 0.5), step=9000)


def first_pixel(images: Tensor) -> Tensor:
    found = images[:, 0, 0, 0]
    return torch.stack([found, 1 - found], dim=1)


def test_the_judge_is_asked_and_nobody_else() -> None:
    image, maps = grey(0.8, 0.4, 0.2, 0.6), torch.tensor([[[1.0, 4.0, 3.0, 2.0]]])
    batch = dataclasses.replace(batch_of(image, maps, torch.tensor([0])), judge=first_pixel)
    names = ["hard_mask_kept", "deletion", "mean_map"]
    metrics = with_judged(known_metrics(names))
    assert [metric.name for metric in metrics] == [
        *names, "judged.hard_mask_kept", "judged.deletion",
    ]  # fmt: skip
    values = {}
    for metric in metrics:
        values |= metric.measure(batch, PROTOCOL)
    # The first pixel comes last: nothing of it is in the better half.
    assert values["hard_mask_kept@50"].item() == pytest.approx(30)
    assert values["judged.hard_mask_kept@50"].item() == 0
    assert values["judged.hard_mask_kept@100"].item() == 100
    # One pixel a step: 0.8 until the last one.
    assert values["judged.deletion"].item() == pytest.approx(100 * (0.8 * 4 - 0.4) / 4)
    assert "judged.deletion.curve@50" in values
    assert set(columns_of(metrics, PROTOCOL)) <= set(values)


def test_a_column_of_several_parts_is_combined_from_the_judged_ones() -> None:
    (column,) = columns_of([judged_metric(METRICS["adcc"])], PROTOCOL).values()
    parts, combine = column[1].parts, column[1].combine
    assert column[1].key == "judged.adcc" and combine is not None
    assert all(part.startswith("judged.adcc.") for part in parts)
    own = METRICS["adcc"].columns(METRICS["adcc"], PROTOCOL)[0]
    assert own.combine is not None
    means = dict(zip(parts, np.array([[60.0], [30.0], [20.0]]), strict=True))
    plain = {key.removeprefix("judged."): value for key, value in means.items()}
    assert combine(means) == own.combine(plain)


def test_a_judge_that_is_the_classifier_finds_the_same() -> None:
    images, maps = torch.rand(3, 3, 8, 8), torch.rand(3, 4, 4)
    batch = batch_of(images, maps, torch.tensor([0, 1, 0]))
    batch = dataclasses.replace(batch, judge=lambda pictures: brightness(pictures))
    for name in ("insertion", "saco", "average_drop", "road_most_relevant_first"):
        own = METRICS[name].measure(batch, PROTOCOL)
        judged = judged_metric(METRICS[name]).measure(batch, PROTOCOL)
        assert list(judged) == [f"judged.{key}" for key in own]
        for key, values in own.items():
            assert torch.equal(values, judged[f"judged.{key}"])


def test_without_a_judge() -> None:
    batch = batch_of(grey(0.5, 0.1), torch.rand(1, 1, 2), torch.tensor([0]))
    with pytest.raises(TtameError, match="no second classifier.*judge"):
        judged_metric(METRICS["saco"]).measure(batch, PROTOCOL)
