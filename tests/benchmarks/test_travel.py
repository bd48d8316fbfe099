"""One command trains, measures and writes pages, for any network."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import few_shot_pointing_game
from benchmarks.few_shot_study import Study
from benchmarks.travel import compared, measured, pointed, trained, trained_by
from tests.benchmarks.tiny_study import draw_boxes
from tests.evaluation.evaluated import photo_folder
from tests.tiny_networks import tiny_cnn


def test_a_network_is_trained_for_measured_and_not_again(tmp_path: Path) -> None:
    photos, classifier = photo_folder(tmp_path / "photos", 6), tiny_cnn()
    out = tmp_path / "out"
    explainer = trained(classifier, str(photos), out, epochs=1, batch_size=2, workers=0)
    finished = (out / "explainer" / "config.json").stat().st_mtime_ns
    trained(classifier, str(photos), out, epochs=1, batch_size=2, workers=0)
    assert (out / "explainer" / "config.json").stat().st_mtime_ns == finished
    made = trained_by(explainer, "mine.py:net")
    assert made.startswith("ttame train --model mine.py:net --data PHOTOS --out FOLDER --preset ")
    assert made.endswith("--epochs 1 --batch-size 2 --workers 0")

    study = compared(classifier, explainer, out)
    (found,) = measured(study, str(photos), 4, protocols=["t-tame"])
    assert {"few_shot", "grad_cam", "random"} <= {method.name for method in found.methods}
    assert (out / "t-tame" / "report.html").read_text(encoding="utf-8").startswith("<!doctype")
    assert found.methods[0].scores.keys() >= {"average_drop@50", "increase_in_confidence@15"}


def test_the_pointing_game_is_a_table_with_tests(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    likely = study.classifier.logits(study.classifier.prepare(study.photos.read(0)))
    draw_boxes(few_shot_pointing_game.BOXES, [20] * 4, label=int(likely.argmax()))
    ranks = few_shot_pointing_game.annotated_images
    monkeypatch.setattr(few_shot_pointing_game, "annotated_images", lambda c: ranks(c, worst=99))
    text = pointed(study, 4)
    assert "**pointing-game**, 4 photos" in text
    lines = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert [line[0] for line in lines] == ["| ", "| maximum in the box ↑", "| energy in the box ↑"]
    for line in lines[1:]:
        values = [float(cell.split(" (")[0]) for cell in line[1:]]
        assert all(0 <= value <= 100 for value in values)
        assert max(values) > 1, "in percent"
