"""How a metric's function is called, and which metrics are refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.metrics.measured import batch_of, brightness, grey
from ttame.errors import TtameError
from ttame.metrics.map_masks import map_values
from ttame.metrics.measuring_batch import MeasuringBatch
from ttame.metrics.metric import Metric
from ttame.metrics.protocol import Protocol

PROTOCOL = Protocol("test", kept_shares=(1.0, 0.25), seed=5)


def metric_of(function: Any, **facts: Any) -> Metric:
    return Metric(
        name="mine", title="Mine", better="higher", unit="", paper="none", measures="something",
        cost="none", function=function, **facts,
    )  # fmt: skip


def batch() -> MeasuringBatch:
    maps = torch.tensor([[[1.0, 2.0, 3.0, 5.0]]])
    return batch_of(grey(0.2, 0.4, 0.8, 0.6), maps, torch.tensor([0]))


def test_parameters_are_given_by_name() -> None:
    def function(
        classes: Tensor, maps: Tensor, probabilities: Any, *, seed: int, radius=0.5
    ) -> Any:  # type: ignore[no-untyped-def]
        assert (seed, radius, probabilities) == (5, 0.5, brightness)
        return maps.sum(dim=(1, 2)) + classes

    metric = metric_of(function)
    assert metric.measure(batch(), PROTOCOL) == {"mine": torch.tensor([11.0])}
    assert (metric.needs, metric.reads) == ({"probabilities"}, {"seed"})


def test_a_setting_goes_by_another_name_and_what_is_fixed_is_not_read() -> None:
    def function(images: Tensor, explain: Any, targets: Tensor, *, start: int, mask: str) -> Tensor:
        assert (start, mask) == (5, "mine")
        return images.mean(dim=(1, 2, 3)) + targets.sum()

    metric = metric_of(function, options={"start": "seed"}, fixed={"mask": "mine"})
    assert metric.measure(batch(), PROTOCOL)["mine"].tolist() == pytest.approx([0.5])
    assert (metric.needs, metric.reads) == ({"explain", "targets"}, {"seed"})


def test_one_number_for_each_share() -> None:
    def function(maps: Tensor, *, share: float) -> Tensor:
        return share * maps.sum(dim=(1, 2))

    metric = metric_of(function, options={"share": "kept_shares"}, for_each="share")
    assert metric.measure(batch(), PROTOCOL) == {"mine@100": 11.0, "mine@25": 2.75}
    columns = metric.columns(metric, PROTOCOL)
    assert [(column.key, column.title) for column in columns] == [
        ("mine@100", "Mine at 100 % kept"),
        ("mine@25", "Mine at 25 % kept"),
    ]


@pytest.mark.parametrize("scaling", ["grid", "pixels"])
def test_scaled_maps_are_the_protocols(scaling: Any) -> None:
    protocol = dataclasses.replace(PROTOCOL, map_scaling=scaling)
    given = batch_of(torch.rand(2, 3, 6, 6), torch.randn(2, 3, 2), torch.tensor([0, 1]))
    metric = metric_of(lambda maps: maps[:, 2, 3], maps="scaled")
    expected = map_values(given.maps, (6, 6), protocol)[:, 2, 3]
    assert torch.equal(metric.measure(given, protocol)["mine"], expected)
    assert metric.reads == {"map_scaling", "upsampling"}


def test_curves_and_further_values_have_their_own_keys() -> None:
    def total(maps: Tensor) -> Tensor:
        return maps.sum(dim=(1, 2))

    metric = metric_of(
        total,
        curve=lambda maps: {0.0: total(maps), 0.125: 2 * total(maps)},
        also={
            "mine.half": lambda maps: total(maps) / 2,
            "sides": lambda maps: {"left": maps[:, 0, 0]},
        },
    )
    found = {key: value.item() for key, value in metric.measure(batch(), PROTOCOL).items()}
    assert found == {
        "mine": 11.0, "mine.half": 5.5, "sides.left": 1.0, "mine.curve@0": 11.0,
        "mine.curve@12.5": 22.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"function": lambda pictures: pictures}, "no parameter without default 'pictures'"),
        ({"curve": lambda pictures: pictures}, "no parameter without default 'pictures'"),
        ({"also": {"a": lambda pictures: pictures}}, "no parameter without default 'pictures'"),
        ({"options": {"maps": "kept_share"}}, "no setting 'kept_share'.*kept_shares"),
        ({"options": {"share": "kept_shares"}}, "no parameter 'share'.*maps"),
        ({"fixed": {"order": 1}}, "metric mine: no parameter 'order'"),
        ({"for_each": "maps"}, "no option 'maps'"),
        ({"columns_read": ("average",)}, "no setting 'average'"),
    ],
)
def test_a_metric_that_could_not_be_called_is_refused(facts: dict[str, Any], message: str) -> None:
    with pytest.raises(TtameError, match=message):
        metric_of(**{"function": lambda maps: maps, **facts})
