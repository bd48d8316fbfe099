"""From values to scores: directions, classes of different sizes, and images without a value."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ttame.evaluation.row_store import BatchFacts, RowStore, folder_name
from ttame.evaluation.summary import MeasuredMethod, scores_of
from ttame.metrics.known_metrics import METRICS
from ttame.metrics.known_protocols import PROTOCOLS
from ttame.metrics.metric import Column
from ttame.results.evaluation import Score

FACTS = BatchFacts(1, 5.0, False, 1, 0, 0, None)


def measured(folder: Path, label: str, classes: list[int], **values: list[float]) -> MeasuredMethod:
    store = RowStore(folder)
    images = range(len(classes))
    arrays = {key.replace("__", "@"): np.array(column) for key, column in values.items()}
    store.write(label, 0, images, [f"{i}.png" for i in images], classes, arrays, FACTS)
    return MeasuredMethod(store, label)


def score(methods: list[MeasuredMethod], name: str, key: str = "") -> dict[str, Score]:
    metric = METRICS[name]
    columns = metric.columns(metric, PROTOCOLS["t-tame"])
    column = next(column for column in columns if column.key == (key or name))
    return scores_of(methods, metric, column)


def test_a_mean_with_its_rank_and_test(tmp_path: Path) -> None:
    good = measured(tmp_path, "good", [0] * 40, average_drop__50=[1.0] * 40)
    bad = measured(tmp_path, "bad", [0] * 40, average_drop__50=[2.0] * 40)
    found = score([bad, good], "average_drop", "average_drop@50")
    best = found["good"]
    assert (best.low, best.value, best.high) == pytest.approx((1, 1, 1))
    assert (best.rank, best.p_value, best.images) == (1, 1.0, 40)
    assert found["bad"].rank == 2
    assert found["bad"].p_value < 0.001


def test_images_without_a_value_do_not_count(tmp_path: Path) -> None:
    nan = float("nan")
    one = measured(tmp_path, "one", [0, 0, 0], energy_inside=[10.0, nan, 30.0])
    none = measured(tmp_path, "none", [0, 0, 0], energy_inside=[nan, nan, nan])
    found = score([one, none], "energy_inside")
    assert found["one"].value == 20
    assert found["one"].images == 2
    assert "none" not in found


def test_the_pointing_game_counts_classes_alike(tmp_path: Path) -> None:
    # Class 0 is hit nine times of nine, class 1 never.
    hits = [100.0] * 9 + [0.0]
    method = measured(tmp_path, "m", [0] * 9 + [1], pointing_game=hits)
    found = score([method], "pointing_game")["m"]
    assert found.value == pytest.approx(50)
    # Two classes are drawn from two: a quarter of the draws is the one twice, one the other.
    assert (found.low, found.high) == (0, 100)


def test_the_interval_of_the_pointing_game_is_that_of_the_mean_over_classes(
    tmp_path: Path,
) -> None:
    """Large classes are hit, those of a single image every other time: resampled images would
    lose the latter and move upwards."""
    classes = [index for index in range(30) for _ in range(5)] + list(range(30, 100))
    hits = [100.0] * 150 + [0.0, 100.0] * 35
    method = measured(tmp_path, "m", classes, pointing_game=hits)
    found = score([method], "pointing_game")["m"]
    assert found.value == pytest.approx(65)
    spread = 1.96 * 100 * (0.65 * 0.35 / 100) ** 0.5
    assert (found.low, found.high) == pytest.approx((65 - spread, 65 + spread), abs=1.1)


def test_the_interval_of_a_single_class_is_over_its_images(tmp_path: Path) -> None:
    method = measured(tmp_path, "m", [3] * 100, pointing_game=[0.0, 100.0] * 50)
    found = score([method], "pointing_game")["m"]
    assert (found.low, found.high) == pytest.approx((40.2, 59.8), abs=1.1)


def test_a_perfect_pointing_game_has_no_spread(tmp_path: Path) -> None:
    method = measured(tmp_path, "m", [0] * 9 + [1], pointing_game=[100.0] * 10)
    other = measured(tmp_path, "o", [0] * 9 + [1], pointing_game=[0.0] * 10)
    found = score([method, other], "pointing_game")
    assert (found["m"].low, found["m"].value, found["m"].high) == pytest.approx((100, 100, 100))
    assert found["o"].value == 0
    assert found["o"].p_value < 0.02


def test_parts_are_combined_after_the_mean(tmp_path: Path) -> None:
    parts = {"adcc.coherency": [100.0, 50.0], "adcc.complexity": [10.0, 30.0]}
    values = {**parts, "adcc.drop": [0.0, 40.0], "adcc": [0.0, 0.0]}
    method = measured(tmp_path, "m", [0, 0], **values)
    expected = 300 / (1 / 0.75 + 1 / 0.8 + 1 / 0.8)
    assert score([method], "adcc")["m"].value == pytest.approx(expected)


def test_curves_are_read_from_their_points(tmp_path: Path) -> None:
    method = measured(
        tmp_path,
        "m",
        [0, 0],
        **{
            "insertion.curve@50": [1.0, 3.0],
            "insertion.curve@5": [0.0, 0.0],
            "insertion": [1.0, 1.0],
        },
    )
    (points,) = method.curves().values()
    assert [(point.x, point.value) for point in points] == [(5, 0), (50, 2)]


def test_folders_of_labels() -> None:
    assert folder_name("grad_cam") == "grad_cam"
    assert len({folder_name(label) for label in ("a/b", "a_b", "a\\b", "../a_b")}) == 4
    assert "/" not in folder_name("../../etc")
    assert not folder_name("../x").startswith(".")


def test_a_column_without_its_values_is_empty(tmp_path: Path) -> None:
    method = measured(tmp_path, "m", [0], insertion=[1.0])
    assert scores_of([method], METRICS["deletion"], Column("deletion", "Deletion")) == {}
