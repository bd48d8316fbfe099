"""What every registered metric must do, and what the registries say."""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.metrics.measured import plain
from ttame.errors import UnknownNameError
from ttame.images.preprocessing import Preprocessing
from ttame.metrics import known_metrics as known_metrics_module
from ttame.metrics.adcc import adcc
from ttame.metrics.average_drop import average_drop
from ttame.metrics.energy_inside import energy_inside
from ttame.metrics.insertion_deletion import insertion
from ttame.metrics.known_metrics import METRICS, columns_of, known_metrics
from ttame.metrics.known_protocols import PROTOCOLS
from ttame.metrics.measuring_batch import MeasuringBatch
from ttame.metrics.metric import Metric
from ttame.metrics.perturbation import perturbation
from ttame.metrics.protocol import SETTINGS, Protocol, percent
from ttame.metrics.road import road

SIZE = (24, 32)
PROTOCOL = Protocol("quick", removed_shares=(0.1, 0.5, 0.9), step=10_000)


def network(images: Tensor) -> Tensor:
    """Four classes, which look at the four quarters of the picture."""
    rows = images.mean(dim=1).unfold(1, 12, 12).unfold(2, 16, 16)
    return (12 * rows.mean(dim=(3, 4)).flatten(1)).softmax(dim=1)


def explain(images: Tensor, classes: Tensor) -> Tensor:
    quarters = torch.nn.functional.one_hot(classes, 4).float().reshape(-1, 1, 2, 2)
    masks = torch.nn.functional.interpolate(quarters, size=(6, 8))[:, 0]
    return torch.nn.functional.avg_pool2d(images.mean(dim=1), 4) * (0.2 + masks)


def batch(rows: slice = slice(None)) -> MeasuringBatch:
    images = torch.rand(3, 3, *SIZE, generator=torch.Generator().manual_seed(4))[rows]
    classes = torch.tensor([0, 3, 1])[rows]
    targets = torch.zeros(3, *SIZE, dtype=torch.bool)
    targets[0, :12, :16] = True
    targets[1, 6:20, 10:] = True
    return MeasuringBatch(
        probabilities=network,
        images=images,
        maps=explain(images, classes),
        classes=classes,
        preprocessing=plain(*SIZE),
        explain=explain,
        numbers=tuple(range(3)[rows]),
        targets=targets[rows],
    )


@pytest.fixture(params=METRICS.values(), ids=lambda metric: metric.name)
def metric(request: pytest.FixtureRequest) -> Metric:
    torch.set_num_threads(1)
    return request.param  # type: ignore[no-any-return]


def test_every_image_gets_a_value(metric: Metric) -> None:
    values = metric.measure(batch(), PROTOCOL)
    needed = {
        part
        for column in metric.columns(metric, PROTOCOL)
        for part in column.parts or (column.key,)
    }
    assert needed <= set(values)
    low, high = metric.bounds
    for key, value in values.items():
        assert value.shape == (3,), key
        assert bool(((value >= low) & (value <= high) | value.isnan()).all()), key
        expected = torch.tensor([True, True, "targets" not in metric.needs])
        assert torch.equal(torch.isfinite(value), expected), key


def test_a_batch_equals_its_images(metric: Metric) -> None:
    together = metric.measure(batch(), PROTOCOL)
    for place in range(3):
        alone = metric.measure(batch(slice(place, place + 1)), PROTOCOL)
        for key, value in alone.items():
            torch.testing.assert_close(
                value[0], together[key][place], equal_nan=True, rtol=1e-4, atol=1e-4, msg=key
            )


def test_the_same_numbers_come_again(metric: Metric) -> None:
    first, second = (metric.measure(batch(), PROTOCOL) for _ in range(2))
    for key, value in first.items():
        assert torch.equal(value.nan_to_num(), second[key].nan_to_num()), key


CALLS: dict[str, Callable[[MeasuringBatch], dict[str, Tensor]]] = {
    "average_drop": lambda b: {
        f"average_drop@{percent(share)}": average_drop(
            b.probabilities, b.images, b.maps, b.classes, b.preprocessing, kept_share=share,
            space="normalised", map_scaling="pixels", upsampling="bicubic", mask="binary",
            ties="trimmed", seed=3,
        )
        for share in (1.0, 0.4)
    },
    "adcc": lambda b: {
        "adcc": adcc(
            b.probabilities, b.explain, b.images, b.maps, b.classes, b.preprocessing,
            space="normalised", map_scaling="pixels", upsampling="bicubic",
        )
    },
    "insertion": lambda b: {
        "insertion": insertion(
            b.probabilities, b.images, b.maps, b.classes, step=9000, blur=(3, 2.0),
            map_scaling="pixels", upsampling="bicubic", seed=3,
        )
    },
    "road_least_relevant_first": lambda b: {
        "road_least_relevant_first": road(
            b.probabilities, b.images, b.maps, b.classes, b.preprocessing,
            order="least relevant first", shares=(0.2, 0.6), score="probability", noise=0.3,
            map_scaling="pixels", upsampling="bicubic", seed=3,
        )
    },
    "positive_perturbation": lambda b: {
        "positive_perturbation": perturbation(
            b.probabilities, b.images, b.maps, b.classes, b.preprocessing, shares=(0.2, 0.6),
            space="normalised", map_scaling="pixels", upsampling="bicubic", seed=3,
        )
    },
    "energy_inside": lambda b: {
        "energy_inside": energy_inside(
            b.maps, b.targets, map_scaling="pixels", upsampling="bicubic"
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_a_call_by_hand_gives_the_numbers_of_the_table(name: str) -> None:
    unlike_defaults = Protocol(
        "other", masked_in="normalised", map_scaling="pixels", upsampling="bicubic", mask="binary",
        ties="trimmed", kept_shares=(1.0, 0.4), removed_shares=(0.2, 0.6), road_noise=0.3,
        road_score="probability", step=9000, blur=(3, 2.0), seed=3,
    )  # fmt: skip
    # The opposite of a good map, so that what is kept is not the object.
    colours = Preprocessing.imagenet(SIZE)
    given = dataclasses.replace(batch(), maps=-batch().maps, preprocessing=colours)
    found = METRICS[name].measure(given, unlike_defaults)
    for key, expected in CALLS[name](given).items():
        assert torch.equal(found[key].nan_to_num(), expected.nan_to_num()), key
    defaults = METRICS[name].measure(given, PROTOCOL)
    firsts = [next(iter(values.values())).nan_to_num() for values in (defaults, found)]
    assert not torch.equal(*firsts)


USUAL = Protocol(
    "settings", ties="trimmed", removed_shares=(0.1, 0.4, 0.8), step=9000, upsampling="bicubic",
    road_noise=0.02, road_score="probability",
)  # fmt: skip
OTHER: dict[str, Any] = {
    "masked_in": "normalised", "map_scaling": "pixels", "upsampling": "bilinear", "mask": "binary",
    "ties": "kept", "kept_shares": (0.4,), "removed_shares": (0.3,), "road_noise": 0.3,
    "road_score": "accuracy", "step": 20_000, "blur": (3, 2.0), "seed": 4,
}  # fmt: skip
ALL_OR_NOTHING = {"increase_in_confidence", "positive_perturbation", "negative_perturbation"}
"""Of a few images these may stay the same whatever is changed."""


@functools.cache
def measured(protocol: Protocol) -> dict[str, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    preprocessing, count = Preprocessing.imagenet(8), 16
    given = MeasuringBatch(
        probabilities=lambda images: images.mean(dim=(2, 3)).mul(6).softmax(dim=1),
        images=preprocessing.normalise(torch.rand(count, 3, 8, 8, generator=generator)),
        maps=torch.rand(count, 5, 4, generator=generator).clamp(0.3, 0.5),
        classes=torch.arange(count) % 3,
        preprocessing=preprocessing,
        explain=lambda images, classes: F.adaptive_avg_pool2d(images[:, 0], (5, 4)).relu(),
        numbers=tuple(range(count)),
        targets=torch.rand(count, 8, 8, generator=generator) > 0.5,
    )
    return {name: metric.measure(given, protocol) for name, metric in METRICS.items()}


@pytest.mark.parametrize("setting", OTHER)
def test_a_setting_changes_the_metrics_that_read_it_and_no_others(setting: str) -> None:
    changed = dataclasses.replace(USUAL, **{setting: OTHER[setting]})
    for name, metric in METRICS.items():
        before, after = measured(USUAL)[name], measured(changed)[name]
        same = {
            key: key in after and torch.equal(value.nan_to_num(), after[key].nan_to_num())
            for key, value in before.items()
        }
        if setting not in metric.reads:
            assert all(same.values()) and list(before) == list(after), name
        elif name not in ALL_OR_NOTHING:
            own = [key for key in same if ".curve@" not in key and not key.startswith("adcc.")]
            assert not all(same[key] for key in own), name


def test_every_setting_is_tried() -> None:
    assert set(OTHER) == SETTINGS - {"explained_class", "adcc_average"}


def test_every_file_with_a_metric_is_registered() -> None:
    folder = Path(known_metrics_module.__file__).parent
    files = [path.stem for path in folder.glob("*.py") if "= Metric(" in path.read_text("utf-8")]
    for file in files:
        module = importlib.import_module(f"ttame.metrics.{file}")
        found = {name for name, thing in vars(module).items() if isinstance(thing, Metric)}
        assert {METRICS[name.lower()] for name in found} == {vars(module)[name] for name in found}
    assert len(files) >= 13


def test_arguments_are_left_alone(metric: Metric) -> None:
    given = batch()
    kept = [tensor.clone() for tensor in (given.images, given.maps, given.classes)]
    metric.measure(given, PROTOCOL)
    for before, after in zip(kept, (given.images, given.maps, given.classes), strict=True):
        assert torch.equal(before, after)


def test_global_random_numbers_are_left_alone(metric: Metric) -> None:
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    metric.measure(batch(), PROTOCOL)
    assert torch.equal(state, torch.random.get_rng_state())


def test_facts(metric: Metric) -> None:
    assert metric.name == metric.name.lower() and " " not in metric.name
    assert all((metric.title, metric.paper, metric.measures, metric.cost))
    for column in metric.columns(metric, PROTOCOL):
        assert column.title
        assert (column.combine is None) == (not column.parts)
        if column.combine is not None:
            means = {part: np.full(5, 0.25) for part in column.parts}
            assert column.combine(means).shape == (5,)


def test_passes_are_shared_between_metrics() -> None:
    asked: list[int] = []

    def counting(images: Tensor) -> Tensor:
        asked.append(len(images))
        return network(images)

    given = batch()
    shared = MeasuringBatch(
        **{
            name: getattr(given, name)
            for name in ("images", "maps", "classes", "preprocessing", "explain", "numbers")
        },
        probabilities=counting,
    )
    for metric in known_metrics(PROTOCOLS["t-tame"].metrics):
        metric.measure(shared, PROTOCOL)
    # The images, three shares kept, and three shares removed in both orders.
    assert sum(asked) == 3 * (1 + 3 + 2 * 3)


def test_columns_are_unique_and_protocols_name_known_metrics() -> None:
    everything = known_metrics(list(METRICS))
    keys = [column.key for metric in everything for column in metric.columns(metric, PROTOCOL)]
    assert len(keys) == len(set(keys)) == len(columns_of(everything, PROTOCOL))
    for protocol in PROTOCOLS.values():
        assert known_metrics(protocol.metrics)
        assert protocol.title and protocol.source


@pytest.mark.parametrize("name", ["road", "roadmost_relevant_first"])
def test_unknown_metrics(name: str) -> None:
    with pytest.raises(UnknownNameError, match=f"unknown metric '{name}'"):
        known_metrics([name])


def test_published_comparisons_fit_the_registries() -> None:
    from ttame.evaluation.reproductions import REPRODUCTIONS
    from ttame.explainers.known_explainers import EXPLAINERS

    for setup in REPRODUCTIONS.values():
        protocol = PROTOCOLS[setup.protocol]
        columns: Any = columns_of(known_metrics(setup.metrics or protocol.metrics), protocol)
        assert set(setup.methods) <= set(EXPLAINERS)
        assert set(setup.published) <= set(setup.methods)
        for numbers in setup.published.values():
            assert set(numbers) <= set(columns)
