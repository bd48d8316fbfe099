"""The gate of the randomisation check, and what is said of it."""

from __future__ import annotations

from pathlib import Path

from tests.evaluation.evaluated import explainers, photo_folder, run
from tests.tiny_networks import tiny_cnn
from ttame.evaluation.reader_notes import gate_in_words
from ttame.metrics.known_metrics import known_metrics
from ttame.results.evaluation import RandomisationScore

SCORES = {
    "good": RandomisationScore(0.1, ((1, 0.1),), True),
    "deaf": RandomisationScore(1.0, ((1, 1.0),), False),
}


def test_who_is_left_out_and_who_was_not_checked() -> None:
    gated = known_metrics(["held_ground", "saco"])
    failed, unchecked = gate_in_words(gated, ["good", "deaf", "new"], SCORES)
    assert failed.startswith("Held ground: not of deaf, whose maps do not depend on the network")
    assert unchecked == "Held ground: no randomisation check was made of new"
    assert gate_in_words(gated, ["good"], SCORES) == []
    assert gate_in_words(known_metrics(["saco"]), ["deaf"], SCORES) == []


def test_the_summary_is_only_of_methods_that_pass(tmp_path: Path) -> None:
    photos, classifier = photo_folder(tmp_path / "photos", 4), tiny_cnn()
    methods = explainers(classifier, ("input_x_gradient", "centre_gaussian"))
    found = run(photos, tmp_path / "out", classifier, methods=methods, protocol="held-ground",
                metrics=["held_ground", "saco"])  # fmt: skip
    gradient, gaussian = found.methods
    assert gradient.sanity and gradient.sanity.passed
    assert gaussian.sanity and not gaussian.sanity.passed
    assert set(gradient.scores) == {"held_ground", "saco"} and set(gaussian.scores) == {"saco"}
    assert gradient.scores["held_ground"].rank == 1
    assert any("not of centre_gaussian" in note for note in found.notes)
    # A protocol without a gate, or metrics that are not gated, cost no check.
    plain = run(photos, tmp_path / "plain", classifier, methods=methods, protocol="held-ground",
                metrics=["saco"])  # fmt: skip
    assert all(method.sanity is None for method in plain.methods)
