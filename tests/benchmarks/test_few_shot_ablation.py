"""The ablation's tables, from hand-made values."""

from __future__ import annotations

import dataclasses
import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import few_shot_ablation as benchmark
from benchmarks import few_shot_ablation_page as page
from benchmarks import few_shot_ablation_rows as rows_and_columns
from benchmarks import few_shot_ablation_values as kept_values
from benchmarks.few_shot_ablation_rows import COLUMNS, MODELS, ROAD, ROWS, Row
from benchmarks.few_shot_ablation_values import Kept, all_kept, is_kept, keep

PHOTOS = 40
MODEL = MODELS[1]


def write_run(
    measurement: str, label: str, steps: int = 96, made_from: str = "", **changes: Any
) -> None:
    """One seed of one row: 20 in every column but those that are given."""
    values = {column: np.full(PHOTOS, 20.0) for column in COLUMNS}
    values.update({name.replace("_at_", "@"): column for name, column in changes.items()})
    keep(MODEL, measurement, label, Kept(made_from, steps, "a machine", values))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(kept_values, "KEPT", tmp_path)
    return tmp_path


def rows_of(section: str) -> dict[str, list[str]]:
    """First cell to the other cells of a table's rows."""
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {first: others for first, *others in cells}


def test_nothing_is_shown_before_the_preset_is_measured() -> None:
    write_run("measured", "no-gate-0")
    assert page.section_of(MODEL) == ""


def test_rows_are_means_over_seeds_and_tested_against_the_preset() -> None:
    write_run("measured", "few-shot-0")
    write_run("measured", "few-shot-1", increase_in_confidence_at_100=np.full(PHOTOS, 22))
    write_run("measured", "no-prior-0", 88, average_drop_at_50=np.full(PHOTOS, 35.0))
    write_run("measured", "all-details-0", average_drop_at_15=np.full(PHOTOS, 5.0))
    section = page.section_of(MODEL)
    rows = rows_of(section)
    assert rows["training"][:3] == ["steps", "seeds", "AD 100 %"]
    preset = rows["the preset"]
    assert preset[:3] == ["96", "2", "20.0<br>20.0 to 20.0<br>± 0.0"]
    assert preset[5] == "21.0<br>± 1.4"
    assert preset[-2:] == ["20.0<br>± 0.0", ""]
    assert rows["all details"][:2] == ["96", "1"]
    assert rows["without prior"][:2] == ["88", "1"]
    assert rows["without prior"][3] == "35.0<br>35.0 to 35.0"
    assert rows["without prior"][-1].endswith("<br>AD 50 %, worse")
    assert rows["all details"][-1].endswith("<br>AD 15 %, better")
    for row in ("without prior", "all details"):
        assert float(rows[row][-1].split("<br>")[0]) < 0.01
    assert "With exactly the share kept" not in section


def test_trainings_are_compared_by_families_of_held_ground() -> None:
    families = [*rows_and_columns.FAMILIES]
    noise = np.random.default_rng(0).normal(size=(5, PHOTOS))
    for name, shift in (("few-shot", 0), ("removing", 3), ("grounds", -3), ("zeros-and-ones", 0)):
        values = {family: 50 + noise[place] for place, family in enumerate(families)}
        values["held_ground.deletion"] = values["held_ground.deletion"] + shift
        keep(MODEL, "held-ground", f"{name}-0", Kept("", 88, "a machine", values))
    write_run("measured", "few-shot-0")
    section = page.section_of(MODEL)
    table = rows_of(section.split("The families of `held-ground`")[1])
    verdicts = {words: cells[-1] for words, cells in table.items() if words != "training"}
    assert verdicts == {
        "the preset": "",
        ROWS["removing"].words: "better",
        ROWS["grounds"].words: "worse",
        ROWS["zeros-and-ones"].words: "neither",
    }


def test_values_come_back_as_they_were_kept_but_for_rounding(folder: Path) -> None:
    assert not is_kept(MODEL, "measured", "raw-2", "this")
    values = {"mean_map": np.array([12.3456, 7.0]), "average_drop@15": np.array([0.0, 100.0])}
    keep(MODEL, "measured", "raw-2", Kept("this", 88, "a machine", values))
    assert is_kept(MODEL, "measured", "raw-2", "this")
    assert not is_kept(MODEL, "trimmed", "raw-2", "this")
    with pytest.raises(SystemExit, match="raw-2.json has other settings"):
        is_kept(MODEL, "measured", "raw-2", "that")
    (found,) = all_kept(MODEL, "measured").values()
    assert (found.made_from, found.steps, found.machine) == ("this", 88, "a machine")
    np.testing.assert_array_equal(found.values["mean_map"], [12.346, 7.0])
    np.testing.assert_array_equal(found.values["average_drop@15"], [0.0, 100.0])
    # A line for each column, so that a difference can be read.
    (file,) = (folder / MODEL / "measured").iterdir()
    assert sum("[" in line for line in file.read_text().splitlines()) == 2


def test_what_is_kept_is_not_trained_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(benchmark.ttame, "load_classifier", refuse)
    for measurement, protocol in benchmark.PROTOCOLS.items():
        made_from = benchmark.hash_of(MODEL, ROWS["few-shot"], 1, protocol)
        write_run(measurement, "few-shot-1", made_from=made_from)
    benchmark.train_and_measure(MODEL, "few-shot", 1)
    with pytest.raises(AssertionError, match="trained again"):
        benchmark.train_and_measure(MODEL, "few-shot", 2)


def test_a_section_without_kept_values_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = tmp_path / "page.md"
    monkeypatch.setattr(page, "PAGE", written)
    written.write_text(f"# Old title\n\n## {MODELS[0]}\n\nkept as it was\n\n## {MODEL}\n\nold\n")
    write_run("measured", "few-shot-0")
    page.write_page()
    text = written.read_text()
    assert text.count("## ") == 2 and f"## {MODELS[0]}\n\nkept as it was\n\n## {MODEL}" in text
    assert "old" not in text.split(f"## {MODEL}")[1] and "a machine" in text
    page.write_page()
    assert written.read_text() == text


def test_what_is_kept_depends_on_settings_protocol_and_seed() -> None:
    protocols = benchmark.PROTOCOLS.values()
    hashes = {
        benchmark.hash_of(MODEL, ROWS[name], seed, protocol)
        for name in ("few-shot", "all-details", "first-tap", "images-100")
        for seed in (0, 1)
        for protocol in protocols
    }
    assert len(hashes) == 4 * 2 * len(protocols)
    same = benchmark.hash_of(
        MODEL, dataclasses.replace(ROWS["raw"], words="x"), 0, benchmark.T_TAME
    )
    assert same == benchmark.hash_of(MODEL, ROWS["raw"], 0, benchmark.T_TAME)


def test_a_section_with_more_rows_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = tmp_path / "page.md"
    monkeypatch.setattr(page, "PAGE", written)
    rows = "| training | p |\n|---|---:|\n| the preset |  |\n| raw maps | 1.000 |"
    written.write_text(f"# Old title\n\n## {MODEL}\n\n{rows}\n")
    write_run("measured", "few-shot-0")
    page.write_page()
    assert rows in written.read_text()
    write_run("measured", "raw-0")
    page.write_page()
    assert rows not in written.read_text() and "| raw maps | 96 | 1 |" in written.read_text()


def test_a_row_without_a_difference_is_not_told_apart() -> None:
    noise = np.random.default_rng(0).normal(size=(2, PHOTOS))
    write_run("measured", "few-shot-0", average_drop_at_100=20 + noise[0])
    write_run("measured", "raw-0", average_drop_at_100=20 + noise[1])
    found = rows_of(page.section_of(MODEL))["raw maps"][-1]
    assert float(found.split("<br>")[0]) > 0.05


def test_maps_with_ties_are_also_shown_without() -> None:
    for name in ("few-shot-0", "loss-sigmoid-0"):
        write_run("measured", name)
    write_run("trimmed", "few-shot-0")
    assert "With exactly the share kept" not in page.section_of(MODEL)
    write_run("trimmed", "loss-sigmoid-0", average_drop_at_15=np.full(PHOTOS, 30.0))
    section = page.section_of(MODEL)
    first, second = section.split("With exactly the share kept:")
    assert "mean map" in first and "mean map" not in second
    assert rows_of(second)["T-TAME's loss at a rate of 0.001, sigmoid maps"][-1].endswith(
        "AD 15 %, worse"
    )


def test_the_bundled_explainer_stands_beside_its_prior() -> None:
    road = {name: np.full(PHOTOS, 50.0) for name in ROAD}
    write_run("measured", "few-shot-0")
    write_run("bundled", "bundled", **road)
    assert "its prior alone, on" not in page.section_of(MODEL)
    road[ROAD[1]] = np.full(PHOTOS, 40.0)
    write_run("bundled", "prior-alone", **road)
    rows = rows_of(page.section_of(MODEL).split("The bundled explainer")[1])
    assert rows["explainer"][-2:] == ["ROAD, most relevant first", "ROAD, least relevant"]
    assert rows["bundled"][-1] == "50.0<br>50.0 to 50.0"
    assert rows["prior alone"][-1] == "40.0<br>40.0 to 40.0"
    p_values = [float(p_value) for p_value in rows["p"]]
    assert p_values[-1] < 0.01 and p_values[:-1] == [1.0] * (len(p_values) - 1)


def test_protocols_differ_in_their_ties_alone() -> None:
    published, trimmed, _ = benchmark.PROTOCOLS.values()
    assert (published.ties, trimmed.ties) == ("kept", "trimmed")
    assert published.hash != trimmed.hash


@pytest.mark.parametrize(("images", "steps"), [(100, 88), (300, 88), (800, 96), (10_000, 311)])
def test_trainings_are_as_long_as_whole_epochs_allow(images: int, steps: int) -> None:
    row = Row("some", images=images)
    settings = benchmark.settings_of(MODEL, row, seed=3)
    held_out = min(benchmark.HELD_OUT, round(0.1 * images))
    assert settings.run.epochs * ((images - held_out) // rows_and_columns.BATCH) == steps
    assert settings.run.seed == 3


def test_every_row_names_settings_that_exist() -> None:
    for row in ROWS.values():
        assert benchmark.settings_of(MODEL, row, 0).preset == row.preset
        assert not row.like or row.like in ROWS


def test_what_is_kept_was_made_from_the_rows_of_today(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the command would ask for trainings anew that took hours, and refuse to go on."""
    monkeypatch.undo()
    checked = 0
    for model in MODELS:
        for name, row in ROWS.items():
            place = kept_values.KEPT / model / "measured" / f"{name}-0.json"
            if place.exists():
                expected = benchmark.hash_of(model, row, 0, benchmark.T_TAME)
                assert json.loads(place.read_text())["made_from"] == expected, place
                checked += 1
    assert checked > 10


def test_the_command_writes_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    write_run("measured", "few-shot-0")
    monkeypatch.setattr("sys.argv", ["few_shot_ablation", "--page"])
    runpy.run_path(str(benchmark.__file__), run_name="__main__")
    assert f"## {MODEL}" in (tmp_path / "page.md").read_text()


def test_the_page_is_made_of_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    standing = page.standing_sections()
    for model in MODELS:
        section = page.section_of(model)
        assert section in ("", standing[model]), "python -m benchmarks.few_shot_ablation --page"
