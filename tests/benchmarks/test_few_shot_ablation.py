"""The ablation's tables, from hand-made rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import few_shot_ablation as benchmark
from ttame.evaluation.row_store import BatchFacts, RowStore

PHOTOS = 40


def write_run(folder: Path, label: str, photos: int = PHOTOS, **changes: np.ndarray) -> None:
    """One seed of one row: 20 in every column but those that are given."""
    values = {column: np.full(photos, 20.0) for column in benchmark.COLUMNS}
    values.update({name.replace("_at_", "@"): column for name, column in changes.items()})
    numbers = list(range(photos))
    facts = BatchFacts(photos, 1.0, False, 1.0, 0.0, 0.0, None)
    keys = [f"{number}.png" for number in numbers]
    RowStore(folder).write(label, 0, numbers, keys, [0] * photos, values, facts)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(benchmark, "FOLDER", tmp_path)
    monkeypatch.setattr(benchmark, "MEASURED", PHOTOS)
    monkeypatch.setattr(benchmark, "REPORTED", PHOTOS)
    return tmp_path / "tiny"


def rows_of(section: str) -> dict[str, list[str]]:
    """First cell to the other cells of a table's rows."""
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {first: others for first, *others in cells}


def test_nothing_is_shown_before_the_preset_is_measured(folder: Path) -> None:
    write_run(folder / "measured", "no-gate-0")
    assert benchmark.section_of("tiny") == ""


def test_rows_are_means_over_seeds_and_tested_against_the_preset(folder: Path) -> None:
    write_run(folder / "measured", "few-shot-0")
    write_run(folder / "measured", "few-shot-1", increase_in_confidence_at_100=np.full(PHOTOS, 22))
    write_run(folder / "measured", "no-prior-0", average_drop_at_50=np.full(PHOTOS, 35.0))
    write_run(folder / "measured", "all-details-0", average_drop_at_15=np.full(PHOTOS, 5.0))
    run = folder / "few-shot-0"
    run.mkdir()
    steps = [json.dumps({"step": step}) for step in (22, 44, 96)]
    (run / "training.jsonl").write_text("\n".join(steps) + "\n")
    section = benchmark.section_of("tiny")
    rows = rows_of(section)
    assert rows["training"][:3] == ["steps", "seeds", "AD 100 %"]
    preset = rows["the preset"]
    assert preset[:3] == ["96", "2", "20.0<br>20.0 to 20.0<br>± 0.0"]
    assert preset[5] == "21.0<br>± 1.4"
    assert preset[-2:] == ["20.0<br>± 0.0", ""]
    # A row that takes the head of the preset has its steps.
    assert rows["all details"][:2] == ["96", "1"]
    assert rows["without prior"][:2] == ["0", "1"]
    assert rows["without prior"][3] == "35.0<br>35.0 to 35.0"
    assert rows["without prior"][-1].endswith("<br>AD 50 %, worse")
    assert rows["all details"][-1].endswith("<br>AD 15 %, better")
    for row in ("without prior", "all details"):
        assert float(rows[row][-1].split("<br>")[0]) < 0.01
    assert "With exactly the share kept" not in section


def test_a_run_that_is_still_being_measured_is_left_out(folder: Path) -> None:
    write_run(folder / "measured", "few-shot-0")
    write_run(folder / "measured", "few-shot-1", photos=PHOTOS // 2)
    write_run(folder / "measured", "raw-0", photos=PHOTOS // 2)
    rows = rows_of(benchmark.section_of("tiny"))
    assert rows["the preset"][1] == "1"
    assert "raw maps" not in rows


def test_a_row_without_a_difference_is_not_told_apart(folder: Path) -> None:
    noise = np.random.default_rng(0).normal(size=(2, PHOTOS))
    write_run(folder / "measured", "few-shot-0", average_drop_at_100=20 + noise[0])
    write_run(folder / "measured", "raw-0", average_drop_at_100=20 + noise[1])
    found = rows_of(benchmark.section_of("tiny"))["raw maps"][-1]
    assert float(found.split("<br>")[0]) > 0.05


def test_maps_with_ties_are_also_shown_without(folder: Path) -> None:
    for name in ("few-shot-0", "loss-sigmoid-0"):
        write_run(folder / "measured", name)
    write_run(folder / "trimmed", "few-shot-0")
    assert "With exactly the share kept" not in benchmark.section_of("tiny")
    write_run(folder / "trimmed", "loss-sigmoid-0", average_drop_at_15=np.full(PHOTOS, 30.0))
    section = benchmark.section_of("tiny")
    first, second = section.split("With exactly the share kept:")
    assert "mean map" in first and "mean map" not in second
    assert rows_of(second)["T-TAME's loss at a rate of 0.001, sigmoid maps"][-1].endswith(
        "AD 15 %, worse"
    )


def test_the_bundled_explainer_stands_beside_its_prior(folder: Path) -> None:
    road = {name: np.full(PHOTOS, 50.0) for name in benchmark.ROAD}
    write_run(folder / "measured", "few-shot-0")
    write_run(folder / "bundled", "bundled", **road)
    assert "bundled" not in benchmark.section_of("tiny")
    road[benchmark.ROAD[1]] = np.full(PHOTOS, 40.0)
    write_run(folder / "bundled", "prior-alone", **road)
    rows = rows_of(benchmark.section_of("tiny").split("The bundled explainer")[1])
    assert rows["explainer"][-2:] == ["ROAD, most relevant first", "ROAD, least relevant"]
    assert rows["bundled"][-1] == "50.0<br>50.0 to 50.0"
    assert rows["prior alone"][-1] == "40.0<br>40.0 to 40.0"
    p_values = [float(p_value) for p_value in rows["p"]]
    assert p_values[-1] < 0.01 and p_values[:-1] == [1.0] * (len(p_values) - 1)


def test_protocols_differ_in_their_ties_alone() -> None:
    published, trimmed = benchmark.PROTOCOLS.values()
    assert (published.ties, trimmed.ties) == ("kept", "trimmed")
    assert published.hash != trimmed.hash


@pytest.mark.parametrize(("images", "steps"), [(100, 88), (300, 88), (800, 96), (10_000, 311)])
def test_trainings_are_as_long_as_whole_epochs_allow(images: int, steps: int) -> None:
    row = benchmark.Row("some", images=images)
    settings = benchmark.settings_of(row, seed=3)
    held_out = min(benchmark.HELD_OUT, round(0.1 * images))
    assert settings.epochs * ((images - held_out) // benchmark.BATCH) == steps
    assert settings.seed == 3


def test_every_row_names_settings_that_exist() -> None:
    for row in benchmark.ROWS.values():
        assert benchmark.settings_of(row, 0).preset == row.preset
        assert not row.like or row.like in benchmark.ROWS
