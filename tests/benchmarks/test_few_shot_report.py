"""The report of the few-shot explainers, from rows to sentences."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import few_shot_report as benchmark
from benchmarks.operating_points import kept_name
from tests.datasets.noise_photos import save_photo
from tests.evaluation.evaluated import photo_folder
from tests.tiny_networks import CLASSES, tiny_cnn
from ttame.classifiers.classifier import Classifier
from ttame.datasets.open_photos import open_photos
from ttame.evaluation.evaluate_methods import evaluate
from ttame.evaluation.row_store import BatchFacts, RowStore
from ttame.evaluation.summary import MeasuredMethod
from ttame.explainers.attention.attention_explainer import (
    AttentionExplainer,
    new_attention_explainer,
)
from ttame.explainers.attention.head_settings import HeadSettings
from ttame.explainers.known_explainers import make_explainer
from ttame.results.evaluation import MethodCost

PHOTOS = 10
PLAN = benchmark.Plan(
    leaderboard="tiny",
    rivals=("grad_cam",),
    read_rivals=("layer_cam",),
    others=(),
    order_rivals=("grad_cam",),
    ordering=benchmark.ROAD.metrics,
    checked=("centre_gaussian",),
    aims={"average_drop@100": 12},
    photos=PHOTOS,
    road_photos=5,
    curve_photos=2,
)


def few_shot(classifier: Classifier, seed: int = 0) -> AttentionExplainer:
    settings = HeadSettings("few-shot")
    return new_attention_explainer(classifier, settings, method="few_shot", seed=seed)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> benchmark.Study:
    """A tiny classifier, photos, boxes, and a leaderboard of every second photo."""
    torch.set_num_threads(1)
    classifier = tiny_cnn()
    monkeypatch.setattr(benchmark, "LEADERBOARDS", tmp_path / "leaderboards")
    monkeypatch.setattr(benchmark, "BOXES", tmp_path / "boxes")
    monkeypatch.setattr(benchmark, "COSTLY", ("recipro_cam", "rise"))
    names = ("grad_cam", "layer_cam", "random", "centre_gaussian", "recipro_cam")
    study = benchmark.Study(
        classifier,
        PLAN,
        {"few_shot": few_shot(classifier), **{n: make_explainer(n, classifier) for n in names}},
        open_photos(photo_folder(tmp_path / "photos", PHOTOS)),
        tmp_path / "kept",
    )
    study.folder.mkdir()
    return study


def lend(study: benchmark.Study, names: tuple[str, ...], limit: int = 5) -> Path:
    """Measure some methods as the leaderboard does."""
    folder = benchmark.LEADERBOARDS / PLAN.leaderboard
    explainers = {name: study.explainers[name] for name in names}
    evaluate(study.classifier, study.photos, explainers, folder, limit=limit)
    return folder


def draw_boxes(folder: Path, covered: list[int], label: int = 1) -> None:
    """Photos of 40x40 pixels with one box each."""
    for number in range(len(covered)):
        save_photo(folder / "images" / f"{number}.png", number, (40, 40))
    content = {
        "images": [
            {"id": n, "file_name": f"{n}.png", "width": 40, "height": 40}
            for n in range(len(covered))
        ],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 9, "bbox": [4, 4, side, side], "area": 1}
            for n, side in enumerate(covered)
        ],
        "categories": [{"id": 9, "name": f"kind {label}", "imagenet1k_index": label}],
    }
    (folder / "annotations.json").write_text(json.dumps(content))


def rows_of(folder: Path, label: str, values: dict[str, np.ndarray]) -> MeasuredMethod:
    """A method with hand-made values."""
    count = len(next(iter(values.values())))
    store = RowStore(folder)
    numbers = list(range(count))
    facts = BatchFacts(count, 1.0, False, 1.0, 0.0, 0.0, None)
    store.write(label, 0, numbers, [f"{n}.png" for n in numbers], [0] * count, values, facts)
    return MeasuredMethod(store, label)


def columns_by_hand(folder: Path) -> list[benchmark.ComparedColumn]:
    """40 photos: the few-shot explainer drops 20, one method 30 everywhere, one 20 on average."""
    keys = [f"{m}@{s}" for m in benchmark.MASKS.metrics[:2] for s in (100, 50, 15)]
    own = 20.0 + np.tile([-1.0, 1.0], 20)
    drops = {
        "few_shot": own,
        "behind": own + 10,
        "level": 20.0 + np.tile([1.0, 1.0, -1.2, -1.0], 10),
    }
    rows = {}
    for name, drop in drops.items():
        values = {key: drop if key.startswith("average_drop") else 100 - drop for key in keys}
        rows[name] = rows_of(folder, f"{name}-0", {**values, "mean_map": drop})
    return benchmark.compared(rows, benchmark.MASKS)


def test_a_column_by_hand(tmp_path: Path) -> None:
    columns = {column.key: column for column in columns_by_hand(tmp_path)}
    assert list(columns)[:2] == ["average_drop@100", "average_drop@50"]
    drop, increase = columns["average_drop@100"], columns["increase_in_confidence@100"]
    for column, sign in ((drop, 1), (increase, -1)):
        cells = column.cells
        assert list(cells) == ["few_shot", "behind", "level"]
        assert cells["behind"].value - cells["few_shot"].value == pytest.approx(10 * sign)
        assert cells["behind"].behind == pytest.approx(-10)
        assert cells["level"].behind == pytest.approx(0.05)
        assert cells["behind"].told_apart and not cells["level"].told_apart
        # Holm's correction for two methods, over the least p that so many permutations can show.
        assert cells["behind"].p_value == pytest.approx(2 / 5001)
        assert cells["few_shot"].p_value == 1
        assert cells["few_shot"].low < cells["few_shot"].value < cells["few_shot"].high
    assert columns["mean_map"].cells["behind"].value == pytest.approx(30)


def test_cells_say_who_is_better(tmp_path: Path) -> None:
    columns = columns_by_hand(tmp_path)
    page = benchmark.score_table(columns)
    assert "Average Drop 100 % ↓<br>40 images" in page
    assert "Increase in Confidence 15 % ↑<br>40 images" in page
    line = next(line for line in page.splitlines() if line.startswith("| `behind`"))
    assert line.count("worse, p 0.000") == 6
    level = next(line for line in page.splitlines() if line.startswith("| `level`"))
    assert level.count("p 0.") == 6 and "worse" not in level and "better" not in level
    assert line.split("|")[2].strip().startswith("30.0<br>29.")
    assert line.rstrip(" |").endswith("to 30.3")
    swapped = [
        dataclasses.replace(
            column,
            cells={
                name: dataclasses.replace(cell, behind=-cell.behind)
                for name, cell in column.cells.items()
            },
        )
        for column in columns
    ]
    assert benchmark.score_table(swapped).count("better, p 0.000") == 6
    assert benchmark.score_table([]) == ""


def test_claims_name_their_exceptions(tmp_path: Path) -> None:
    columns = columns_by_hand(tmp_path)
    costs = {
        name: MethodCost(1, 0, 0, milliseconds, 0)
        for name, milliseconds in (("few_shot", 2), ("rise", 400), ("score_cam", 100))
    }
    nothing: list[benchmark.ComparedColumn] = []
    found = benchmark.Found(columns, nothing, nothing, ["rise"], nothing, nothing, {}, costs)
    plan = dataclasses.replace(
        PLAN,
        rivals=("behind",),
        aims={"average_drop@100": 12, "average_drop@50": 20, "increase_in_confidence@15": 81},
    )
    lines = benchmark.claims(plan, found).splitlines()
    assert lines[:3] == [
        "- **no**: Average Drop 100 % at most 12: 20.0.",
        "- **yes**: Average Drop 50 % at most 20: 20.0.",
        "- **no**: Increase in Confidence 15 % at least 81: 80.0.",
    ]
    assert lines[3].startswith("- **yes**: Soft masks: a better mean than `behind` and `layer_cam`")
    assert lines[3].endswith("Told apart as better in 6, as worse in 0 of 6 tests.")
    assert lines[4].startswith("- **not measured**: Order of places")
    assert "`rise` is not measured" in lines[6]
    assert lines[7].endswith(
        "Not so: `score_cam` takes 50.0 times as long; `ablation_cam` is not measured."
    )
    behind = benchmark.claims(dataclasses.replace(plan, rivals=("level",)), found).splitlines()[3]
    assert behind.startswith("- **no**") and behind.count("`level`") == 7
    assert "`level`, Average Drop 100 %: 19.9 against 20.0, p 0." in behind
    assert behind.endswith("Told apart as better in 0, as worse in 0 of 6 tests.")


def test_costly_methods_may_be_level_but_not_better(tmp_path: Path) -> None:
    columns = columns_by_hand(tmp_path)
    costs = {"few_shot": MethodCost(1, 0, 0, 1, 0)}

    def cells_of_kind(column: benchmark.ComparedColumn) -> dict[str, benchmark.Cell]:
        behind = column.cells["behind"]
        ahead = dataclasses.replace(behind, behind=10.0)
        return {"level": column.cells["level"], "behind": behind, "ahead": ahead}

    def line(kind: str) -> str:
        renamed = [
            dataclasses.replace(
                column,
                cells={"few_shot": column.cells["few_shot"], "rise": cells_of_kind(column)[kind]},
            )
            for column in columns
        ]
        found = benchmark.Found([], [], renamed, [], [], [], {}, costs)
        return benchmark.claims(dataclasses.replace(PLAN, aims={}), found).splitlines()[3]

    assert line("level").startswith("- **yes**: Soft masks and ROAD")
    assert line("behind").startswith("- **yes**: Soft masks and ROAD")
    assert line("ahead").startswith("- **no**: Soft masks and ROAD")


def test_the_leaderboard_lends_what_is_the_same(
    study: benchmark.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("grad_cam", "layer_cam", "rise")
    assert benchmark.lent_rows(study, names) == {}
    folder = lend(study, ("grad_cam", "layer_cam", "few_shot"))
    lent = benchmark.lent_rows(study, (*names, "few_shot"))
    assert list(lent) == ["grad_cam", "layer_cam"]
    assert lent["grad_cam"].images.tolist() == [0, 2, 4, 6, 8]

    other = make_explainer("grad_cam", study.classifier, rectified=False)
    changed = dataclasses.replace(study, explainers={**study.explainers, "grad_cam": other})
    assert list(benchmark.lent_rows(changed, names)) == ["layer_cam"]

    elsewhere = open_photos(photo_folder(tmp_path / "more", PHOTOS))
    moved = dataclasses.replace(study, photos=elsewhere)
    assert list(benchmark.lent_rows(moved, names)) == ["grad_cam", "layer_cam"]
    save_photo(tmp_path / "more" / "0000.png")
    shifted = dataclasses.replace(study, photos=open_photos(tmp_path / "more"))
    assert benchmark.lent_rows(shifted, names) == {}

    retrained = tiny_cnn()
    with torch.no_grad():
        retrained.network[-1].weight.neg_()
    assert benchmark.lent_rows(dataclasses.replace(study, classifier=retrained), names) == {}

    (folder / "rows" / "layer_cam" / "000000.parquet").unlink()
    assert list(benchmark.lent_rows(study, names)) == ["grad_cam"]
    identity = json.loads((folder / "evaluation.json").read_text())
    (folder / "evaluation.json").write_text(json.dumps(identity | {"protocol": "rise 123"}))
    assert benchmark.lent_rows(study, names) == {}


def test_road_is_measured_only_where_nobody_lends_it(study: benchmark.Study) -> None:
    lend(study, ("grad_cam",))
    lent = benchmark.lent_rows(study, ("grad_cam",))
    rows = benchmark.road_rows(study, ["few_shot", "grad_cam"], lent)
    assert list(rows) == ["few_shot", "grad_cam"]
    kept = [place.name for place in (study.folder / "road-5" / "rows").iterdir()]
    assert len(kept) == 1 and kept[0].startswith("few_shot-")
    own = benchmark.road_rows(study, ["few_shot", "grad_cam"], {})
    for key in ("road_most_relevant_first", "road_least_relevant_first"):
        parts = [name for name in own["grad_cam"].values if name.startswith(key)]
        assert parts
        for part in parts:
            ours, theirs = own["grad_cam"].values[part], rows["grad_cam"].values[part]
            assert np.array_equal(ours, theirs, equal_nan=True)
    # The leaderboard has five photos, and not four.
    fewer = dataclasses.replace(study, plan=dataclasses.replace(PLAN, road_photos=4))
    benchmark.road_rows(fewer, ["few_shot", "grad_cam"], lent)
    assert (study.folder / "road-4" / "rows" / "grad_cam").is_dir()


def test_other_weights_are_measured_anew(study: benchmark.Study) -> None:
    def finished() -> dict[str, float]:
        places = (study.folder / "masks-2" / "rows").iterdir()
        return {place.name: next(place.iterdir()).stat().st_mtime_ns for place in places}

    benchmark.measure(study, benchmark.MASKS, ["few_shot", "grad_cam"], 2)
    before = finished()
    benchmark.measure(study, benchmark.MASKS, ["few_shot", "grad_cam"], 2)
    assert finished() == before
    other = few_shot(study.classifier, seed=1)
    changed = dataclasses.replace(study, explainers={**study.explainers, "few_shot": other})
    rows = benchmark.measure(changed, benchmark.MASKS, ["few_shot", "grad_cam"], 2)
    assert set(finished()) - set(before) == {kept_name("few_shot", other)}
    assert {name: finished()[name] for name in before} == before
    assert rows["few_shot"].label == kept_name("few_shot", other)


def test_annotated_images_are_those_that_say_something(
    study: benchmark.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 28 of 40 pixels a side are just less than half of the picture.
    draw_boxes(benchmark.BOXES, [10, 40, 28, 29, 20], label=1)
    images = benchmark.annotated_images(study, worst=99)
    assert [image.file for image in images] == ["0.png", "2.png", "4.png"]
    assert {image.label for image in images} == {1}
    photos = [str(benchmark.BOXES / "images" / image.file) for image in images]
    logits = study.classifier.logits(study.classifier.prepare(photos))
    ranks = [row.argsort(descending=True).tolist().index(1) for row in logits]
    assert [image.rank for image in images] == ranks
    worst = sorted(ranks)[0]
    seen = benchmark.annotated_images(study, worst=worst)
    assert [image.rank for image in seen] == [rank for rank in ranks if rank <= worst]
    monkeypatch.setattr(benchmark, "ranks_of", None)
    assert benchmark.annotated_images(study, worst=99) == images


def test_rows_of_some_images() -> None:
    method = object.__new__(MeasuredMethod)
    method.label = "a"
    method.images, method.classes = np.array([0, 2, 4]), np.array([7, 8, 9])
    method.values = {"x": np.array([1.0, 2.0, 3.0])}
    part = benchmark.on_images(method, np.array([4, 0, 5]))
    assert part.images.tolist() == [0, 4]
    assert part.classes.tolist() == [7, 9]
    assert part.values["x"].tolist() == [1, 3]
    assert method.images.tolist() == [0, 2, 4] and len(method.values["x"]) == 3


def test_a_whole_report(study: benchmark.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    lend(study, ("layer_cam", "recipro_cam"))
    own = study.classifier.logits(study.classifier.prepare([study.photos.read(0)]))
    # Not the class that the network names, so that only the labelled one has an object.
    label = (int(own.argmax()) + 1) % CLASSES
    draw_boxes(benchmark.BOXES, [20] * 4, label=label)
    monkeypatch.setattr(
        benchmark,
        "annotated_images",
        lambda _: [benchmark.AnnotatedImage(f"{n}.png", label, min(n, 1)) for n in range(4)],
    )
    explainers = {**study.explainers, "rise": make_explainer("rise", study.classifier, masks=20)}
    study = dataclasses.replace(study, explainers=explainers)
    found = benchmark.measured(study, 4)
    masks, order = found.masks[0], {column.metric: column for column in found.order}
    assert list(masks.cells) == ["few_shot", "grad_cam", "random", "centre_gaussian"]
    assert {cell.images for cell in masks.cells.values()} == {PHOTOS}
    assert set(order) == {*benchmark.ROAD.metrics, *benchmark.CURVES.metrics}
    assert order["insertion"].cells["few_shot"].images == 2
    # Every second photo lies in the leaderboard, and ROAD's own photos are the same ones.
    assert list(found.read[0].cells) == ["few_shot", "recipro_cam", "layer_cam"]
    assert {cell.images for column in found.read for cell in column.cells.values()} == {5}
    assert {c.metric for c in found.read} == {*benchmark.MASKS.metrics, *benchmark.ROAD.metrics}
    assert found.missing == ["rise"]
    assert found.pointing[0].cells["centre_gaussian"].images == 4
    assert found.recognised[0].cells["centre_gaussian"].images == 1
    assert list(found.sanity) == ["few_shot", "centre_gaussian"]
    assert found.sanity["centre_gaussian"].similarity == pytest.approx(1)
    assert not found.sanity["centre_gaussian"].passed
    assert found.costs["rise"].forward > 20
    assert found.costs["few_shot"].forward == 1
    kept = kept_name("few_shot", study.explainers["few_shot"])
    timed = RowStore(study.folder / f"cost-{kept}-{benchmark.COST_PHOTOS}").facts("rise")
    assert [fact.images for fact in timed] == [1] * benchmark.COST_PHOTOS
    page = benchmark.section(study, found)
    digest = kept.split("-")[1]
    assert page.startswith(f"Few-shot explainer `{digest}`")
    assert page.count("### ") == 7
    assert "Not finished in runs/leaderboard/tiny, and so not here: rise." in page
    monkeypatch.setattr(benchmark, "Progress", Unasked)
    assert benchmark.section(study, benchmark.measured(study, 4)) == page


class Unasked(benchmark.Progress):
    """Fails where anything is measured."""

    def _say(self, words: str) -> None:
        pytest.fail(words)
