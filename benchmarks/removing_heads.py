"""What a head learns that also removes, and sees several grounds: a section of BENCHMARKS.md

    python -m benchmarks.removing_heads [--list PHOTOS] [--page]

Trains the bundled few-shot explainer of EfficientNet-Lite0 for two more epochs with an objective
that removes the most relevant places of 40 % of the images, hides pixels with four grounds, and has
narrower edges, and compares it with what it began as and with other methods, family by family of
``held-ground`` and by T-TAME's protocol. The command can be stopped and goes on where it was; the
rows of every photo are kept in benchmarks/leaderboard_rows. ``--page`` only writes the section.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import ttame
from benchmarks.benchmark_page import write_section
from benchmarks.bought_figures import MEASURED
from benchmarks.family_tables import comparison, in_brackets
from benchmarks.leaderboard_archive import keep, restore
from ttame.classifiers.classifier import Classifier
from ttame.evaluation.evaluate_methods import evaluate
from ttame.evaluation.row_store import RowStore
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.known_explainers import make_explainer
from ttame.metrics.known_protocols import known_protocol
from ttame.training import run_preparation
from ttame.training.train_explainer import train_explainer
from ttame.training.training_settings import training_settings

HERE = Path(__file__).parent
RUNS = HERE.parent / "runs" / "removing_heads"
PHOTOS = HERE / "photo_splits" / "report-200.txt"
TRAIN_PHOTOS = HERE / "photo_splits" / "train-800.txt"
MODEL = "efficientnet_lite0"
EXPLAINER = "efficientnet_lite0--few-shot-quick"
BUNDLED, REMOVING = "few_shot", "removing"
OTHERS = ("grad_cam",)
CHANGES: dict[str, Any] = {
    "removing": 0.4,
    "masked": "grounds",
    "edge": 0.15,
    "learning_rate": 2e-3,
    "epochs": 2,
}
PARTS = {
    "held-ground": (36, (BUNDLED, REMOVING, *OTHERS)),
    "t-tame": (80, (BUNDLED, REMOVING)),
}
"""Protocol to how many photos and which methods."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", default=str(PHOTOS), help="of photos to measure on")
    parser.add_argument("--train", default=str(TRAIN_PHOTOS), help="of photos to train on")
    parser.add_argument("--page", action="store_true", help="only write the section")
    options = parser.parse_args()
    if not options.page:
        measure(options.list, options.train)
    tables = [comparison(protocol, rows_of(protocol), BUNDLED) for protocol in PARTS]
    write_section(
        "removing-heads",
        f"A head that also removes: {MODEL}",
        "python -m benchmarks.removing_heads",
        "\n\n".join([WORDS, *tables]),
    )


WORDS = (
    "`few_shot` is the bundled explainer; `removing` is the same after two more epochs (one seed, "
    "rate 0.002) with `--removing 0.4 --masked grounds --edge 0.15`. "
    f"{in_brackets('few_shot')} Photos that neither training nor choices saw. "
    "The rows that are kept were made on 2026-11-30 by a driver outside of the repository, with "
    "these settings and a channels-last network; training and measuring by this command have not "
    "been run."
)


def measure(photos: str, train: str) -> None:
    """Train and measure what is missing, and keep the rows."""
    classifier = ttame.load_classifier(MODEL)
    bundled = ttame.load_explainer(EXPLAINER, classifier=classifier)
    removing = trained_further(classifier, bundled, train)
    known = {BUNDLED: bundled, REMOVING: removing}
    for protocol, (count, names) in PARTS.items():
        methods = {name: known.get(name) or make_explainer(name, classifier) for name in names}
        evaluate(
            classifier, photos, methods, RUNS / protocol,
            protocol=dataclasses.replace(known_protocol(protocol), gate_images=0),
            metrics=MEASURED[protocol], limit=count, resume=True,
        )  # fmt: skip
        keep(RUNS / protocol, kept_at(protocol))


def trained_further(classifier: Classifier, bundled: Explainer, photos: str) -> Explainer:
    """The bundled head after more epochs, unless they are done."""
    folder = RUNS / "explainer"
    if not (folder / "config.json").exists():
        settings = training_settings(**CHANGES, workers=0, checkpoint_every=10)
        make = run_preparation.new_attention_explainer

        def begun(*given: Any, **named: Any) -> Any:
            explainer = make(*given, **named)
            explainer.head.load_state_dict(bundled.head.state_dict())  # type: ignore[attr-defined]
            return explainer

        with mock.patch.object(run_preparation, "new_attention_explainer", begun):
            train_explainer(classifier, photos, folder, settings, resume=True)
    return ttame.load_explainer(folder, classifier=classifier)


def kept_at(protocol: str) -> Path:
    """Where the rows of a protocol are in the repository."""
    return HERE / "leaderboard_rows" / f"removing-heads-{protocol}.tar.xz"


def rows_of(protocol: str) -> dict[str, Mapping[str, np.ndarray]]:
    """Method to column to values, from the repository."""
    with tempfile.TemporaryDirectory() as runs:
        store = RowStore(restore(f"removing-heads-{protocol}", runs=Path(runs)))
        return {label: store.values(label)[2] for label in PARTS[protocol][1]}


if __name__ == "__main__":
    main()
