"""Which figures moved, from made-up rows: tested together, and in the right direction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import bought_figures
from benchmarks.bought_figures import AFTER, BEFORE, Moved, keep, kept_values, moved_columns, page
from tests.evaluation.evaluated import explainers, photo_folder, run
from tests.tiny_networks import tiny_cnn

PHOTOS = 30
FACTS = {"photos": PHOTOS, "steps": 10, "date": "today", "machine": "a machine"}


def column(mean: float, seed: int) -> list[float]:
    return (mean + np.random.default_rng(seed).normal(size=PHOTOS)).tolist()


def made_up() -> dict[str, dict[str, dict[str, list[float]]]]:
    before = {"average_drop@50": column(30, 1), "mean_map": column(55, 2)}
    after = {"average_drop@50": column(20, 3), "mean_map": column(50, 4)}
    held = {"insertion": column(50, 5), "saco": column(0.5, 6), "judged.insertion": column(40, 7)}
    then = {"insertion": column(45, 8), "saco": column(0.5, 9), "judged.insertion": column(44, 7)}
    return {"t-tame": {BEFORE: before, AFTER: after}, "held-ground": {BEFORE: held, AFTER: then}}


def test_what_became_better_and_what_worse() -> None:
    found = moved_columns(made_up())
    verdicts = {c.title: c.verdict for columns in found.values() for c in columns}
    assert verdicts == {
        "Average Drop at 50 % kept": "better",
        "Mean map": "moved",
        "Insertion": "worse",
        "SaCo": "not significant",
        "Insertion, judged": "better",
    }
    dropped = found["t-tame"][0]
    assert dropped.low < dropped.after - dropped.before < dropped.high < -8
    text = page(found, FACTS)
    assert "- **Significantly worse**: Insertion.\n" in text
    assert "| Average Drop at 50 % kept ↓ |" in text
    # A made-up change that the correction hides, but no interval.
    weak = [
        Moved("Weak", "higher", 1.0, 2.0, 0.1, 1.9, 0.2),
        Moved("None", "higher", 1, 2, -1, 3, 1),
    ]
    text = page({"t-tame": weak}, FACTS)
    assert "interval without zero**: Weak.\n" in text and "so few photos**: None.\n" in text
    assert "- **Significantly better**: none.\n" in text


def test_the_correction_is_over_all_columns_of_the_page() -> None:
    kept = made_up()
    alone = moved_columns({"t-tame": kept["t-tame"]})["t-tame"][0].p_value
    together = moved_columns(kept)["t-tame"][0].p_value
    assert together == pytest.approx(alone * 5 / 2)


def test_rows_are_kept_as_they_were_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, classifier = photo_folder(tmp_path / "photos", 3), tiny_cnn()
    plain, other = explainers(classifier, ("grad_cam", "random")).values()
    found = run(photos, tmp_path / "out", classifier, methods={BEFORE: plain, AFTER: other},
                metrics=["average_drop"])  # fmt: skip
    monkeypatch.setattr(bought_figures, "VALUES", tmp_path / "values")
    monkeypatch.setattr(bought_figures, "MEASURED", {"t-tame": ("average_drop",)})
    keep("t-tame", tmp_path / "out")
    (tmp_path / "values" / "facts.json").write_text('{"photos": 3}', encoding="utf-8")
    columns, facts = kept_values()
    assert facts == {"photos": 3}
    expected = [method.scores["average_drop@50"].value for method in found.methods]
    moved = columns["t-tame"][1]
    assert [moved.before, moved.after] == pytest.approx(expected, abs=1e-3)
