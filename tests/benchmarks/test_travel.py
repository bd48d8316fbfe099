"""One command trains, measures and writes pages, for any network."""

from __future__ import annotations

from pathlib import Path

from benchmarks.travel import measured, trained, trained_by
from tests.evaluation.evaluated import photo_folder
from tests.tiny_networks import tiny_cnn


def test_a_network_is_trained_for_measured_and_not_again(tmp_path: Path) -> None:
    photos, classifier = photo_folder(tmp_path / "photos", 6), tiny_cnn()
    out = tmp_path / "out"
    explainer = trained(classifier, str(photos), out, 0, epochs=1, batch_size=2, workers=0)
    finished = (out / "explainer" / "config.json").stat().st_mtime_ns
    trained(classifier, str(photos), out, 0, epochs=1, batch_size=2, workers=0)
    assert (out / "explainer" / "config.json").stat().st_mtime_ns == finished
    made = trained_by(explainer, "mine.py:net")
    assert made.startswith("ttame train --model mine.py:net --data PHOTOS --out FOLDER --preset ")
    assert made.endswith("--epochs 1 --batch-size 2 --workers 0")

    (found,) = measured(classifier, explainer, str(photos), out, 4, protocols=["t-tame"])
    assert {"few_shot", "grad_cam", "random"} <= {method.name for method in found.methods}
    assert (out / "t-tame" / "report.html").read_text(encoding="utf-8").startswith("<!doctype")
    assert found.methods[0].scores.keys() >= {"average_drop@50", "increase_in_confidence@15"}
