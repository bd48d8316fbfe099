"""What each part of the few-shot explainer is worth, as a table in docs/few-shot-ablation.md

    python -m benchmarks.few_shot_ablation [--model NAME] [--seeds 3] [--rows NAME,...] [--page]

Trains every row of the table in whole epochs, as near to the same number of optimiser steps as
they come, with every seed, by ``ttame.train_explainer``, and measures all of them by
``ttame.evaluate`` on 100 photos that no training has seen; the bundled explainer and its prior
alone on all 200. Everything is kept in runs/few_shot_ablation: the command can be stopped at any
moment and goes on where it was.
``--page`` only writes the page from what is finished.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ttame
from benchmarks.benchmark_page import table
from ttame.classifiers.classifier import Classifier
from ttame.datasets.open_photos import open_photos
from ttame.datasets.wrapped_dataset import WrappedDataset
from ttame.evaluation.evaluate_methods import evaluate, machine_in_words
from ttame.evaluation.paired_statistics import (
    bootstrap_interval,
    corrected,
    permutation_p_value,
)
from ttame.evaluation.row_store import RowStore
from ttame.explainers.attention.attention_explainer import (
    AttentionExplainer,
    head_maps,
    new_attention_explainer,
)
from ttame.explainers.attention.map_scale import exponents_for_means
from ttame.explainers.attention.shared_head import SharedHead
from ttame.metrics.known_protocols import known_protocol
from ttame.training.training_settings import TrainingSettings, training_settings

HERE = Path(__file__).parent
ROOT = HERE.parent
DATA = ROOT.parent / "shared" / "data"
FOLDER = ROOT / "runs" / "few_shot_ablation"
TRAIN_PHOTOS = HERE / "photo_splits" / "train-800.txt"
REPORT_PHOTOS = HERE / "photo_splits" / "report-200.txt"
TINY_IMAGENET = DATA / "tiny-imagenet" / "train-0000.tar"
MODELS = ("efficientnet_lite0", "hybrid_vit_lite0")
STEPS = 88
BATCH = 32
HELD_OUT = 20
MEASURED = 100
REPORTED = 200
METRICS = ("average_drop", "increase_in_confidence", "mean_map")
COLUMNS = {
    "average_drop@100": "AD 100 %",
    "average_drop@50": "AD 50 %",
    "average_drop@15": "AD 15 %",
    "increase_in_confidence@100": "IC 100 %",
    "increase_in_confidence@50": "IC 50 %",
    "increase_in_confidence@15": "IC 15 %",
    "mean_map": "mean map",
}
WHOLE = "few-shot"
BUNDLED = "bundled"
PRIOR = "prior-alone"
ROAD = ("road_most_relevant_first", "road_least_relevant_first")
WITH_TIES = (WHOLE, "loss-sigmoid")
"""Rows that are also measured without ties: a sigmoid gives many places the value 1."""

T_TAME = known_protocol("t-tame")
PROTOCOLS = {
    "measured": T_TAME,
    "trimmed": dataclasses.replace(T_TAME, name="t-tame-trimmed", ties="trimmed"),
}
"""Folder to protocol."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One kind of training.

    Attributes:
        words: for the table.
        changes: of the settings of the preset.
        preset: where they start.
        images: how many to train on; more than 800 take the rest from Tiny-ImageNet.
        taps: positions among the classifier's default taps; all if empty.
        like: the row whose head this one takes, with other ``details``.
        details: of that head's maps.
        trained: whether there is anything to train; else the prior alone.
    """

    words: str
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    preset: str = "few-shot"
    images: int = 800
    taps: tuple[int, ...] = ()
    like: str = ""
    details: float = 0.5
    trained: bool = True


PUBLISHED_LOSS = {"objective": "t-tame", "learning_rate": 1e-3}
ROWS = {
    WHOLE: Row("the preset"),
    "published": Row(
        "T-TAME as published, at a rate of 0.03", {"learning_rate": 0.03}, preset="t-tame"
    ),
    PRIOR: Row("prior alone, nothing trained", trained=False),
    "no-prior": Row("without prior", {"without": "prior"}),
    "no-embedding": Row("without embedding", {"without": "embedding"}),
    "no-gate": Row("without gate", {"without": "gate"}),
    "loss-sigmoid": Row(
        "T-TAME's loss at a rate of 0.001, sigmoid maps", {**PUBLISHED_LOSS, "maps": "sigmoid"}
    ),
    "loss-raw": Row(
        "T-TAME's loss at a rate of 0.001, raw maps", {**PUBLISHED_LOSS, "maps": "raw"}
    ),
    "raw": Row("raw maps", {"maps": "raw"}),
    "all-details": Row("all details", like=WHOLE, details=1.0),
    "no-details": Row("no details", like=WHOLE, details=0.0),
    "last-tap": Row("last tap alone", taps=(2,)),
    "first-tap": Row("first tap alone", taps=(0,)),
    "crops": Row("crops instead of zooms", {"augmentation": "random crop and flip"}),
    "images-100": Row("100 images", images=100),
    "images-300": Row("300 images", images=300),
    "images-10000": Row("10,000 images, 9,200 of Tiny-ImageNet", images=10_000),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=MODELS, action="append")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", help="separated by commas; all if not given")
    parser.add_argument("--page", action="store_true", help="only write the page")
    options = parser.parse_args()
    names = options.rows.split(",") if options.rows else list(ROWS)
    if not options.page:
        if not TRAIN_PHOTOS.exists() or not DATA.exists():
            raise SystemExit(f"{DATA} is missing: this benchmark needs ../shared/data")
        for seed in range(options.seeds):
            for name in names:
                for model in options.model or MODELS:
                    train_and_measure(model, name, seed)
        for model in options.model or MODELS:
            measure_bundled(model)
    write_page()


def train_and_measure(model: str, name: str, seed: int) -> None:
    """One row and seed, unless it is finished."""
    row = ROWS[name]
    if not row.trained and seed:
        return
    folder = FOLDER / model
    out = folder / f"{row.like or name}-{seed}"
    classifier = ttame.load_classifier(model)
    if row.taps:
        taps = [classifier.taps[place].layer for place in row.taps]
        classifier = ttame.load_classifier(model, taps=taps)
    if not row.trained:
        save_prior_alone(classifier, out)
    elif not (out / "config.json").exists():
        print(f"{model}: training {name}, seed {seed}", flush=True)
        photos = training_photos(row.images)
        ttame.train_explainer(classifier, photos, out, settings_of(row, seed), resume=True)
    explainer = ttame.load_explainer(out, classifier=classifier)
    if row.like:
        explainer.head.settings = dataclasses.replace(explainer.head.settings, details=row.details)
        fit_exponent(explainer, training_settings("few-shot").mean_map)
    with_default_taps = ttame.load_classifier(model)
    for kind, protocol in PROTOCOLS.items():
        if protocol is T_TAME or name in WITH_TIES:
            evaluate(
                with_default_taps,
                str(REPORT_PHOTOS),
                {f"{name}-{seed}": explainer},
                folder / kind,
                protocol=protocol,
                metrics=METRICS,
                limit=MEASURED,
                resume=True,
            )


def measure_bundled(model: str) -> None:
    """The bundled explainer, trained for longer, and what it started from, on all photos."""
    classifier = ttame.load_classifier(model)
    evaluate(
        classifier,
        str(REPORT_PHOTOS),
        {
            BUNDLED: ttame.load_explainer(model, classifier=classifier),
            PRIOR: ttame.load_explainer(FOLDER / model / f"{PRIOR}-0", classifier=classifier),
        },
        FOLDER / model / "bundled",
        metrics=(*METRICS, *ROAD),
        resume=True,
    )


def save_prior_alone(classifier: Classifier, out: Path) -> None:
    """The prior, of which training would have found the exponent alone."""
    preset = training_settings("few-shot")
    settings = dataclasses.replace(preset.head_settings, embedding=False, gate=False)
    explainer = new_attention_explainer(classifier, settings, method=preset.method)
    fit_exponent(explainer, preset.mean_map)
    explainer.save(out, overwrite=True)


@torch.no_grad()
def fit_exponent(explainer: AttentionExplainer, mean: float) -> None:
    """Give the maps of 100 training photos their mean, as training would have."""
    head, classifier = explainer.head, explainer.classifier
    assert isinstance(head, SharedHead)
    photos = training_photos(100)
    found = []
    for place in range(len(photos)):
        reading = classifier.read_features(classifier.prepare(photos.read(place)))
        classes = reading.logits.argmax(dim=1)[:, None]
        found.append(head.unit_range(head_maps(head, classifier, reading, classes)).flatten())
    head.exponent.copy_(exponents_for_means(torch.cat(found)[None], torch.tensor([mean]))[0])


def settings_of(row: Row, seed: int) -> TrainingSettings:
    """With as many whole epochs as come next to the same steps for every number of images."""
    held_out = min(HELD_OUT, round(0.1 * row.images))
    steps_an_epoch = max(1, (row.images - held_out) // BATCH)
    return training_settings(
        row.preset,
        **{
            "seed": seed,
            "epochs": max(1, round(STEPS / steps_an_epoch)),
            "workers": 1,
            "held_out_at_most": HELD_OUT,
            "checkpoint_every": 40,
            **row.changes,
        },
    )


def training_photos(count: int) -> Any:
    """The first photos of the list, spread over its classes, and then Tiny-ImageNet's."""
    if count <= 800:
        photos = open_photos(TRAIN_PHOTOS)
        chosen = [round(place * len(photos) / count) for place in range(count)]
        return WrappedDataset([photos.read(place) for place in chosen])
    tiny = open_photos(TINY_IMAGENET)
    paths = open_photos(TRAIN_PHOTOS)
    images = [paths.read(place) for place in range(len(paths))]
    images += [tiny.read(place) for place in range(count - len(images))]
    return WrappedDataset(images)


def write_page() -> None:
    """docs/few-shot-ablation.md from all finished rows."""
    parts = [
        "# Ablation of the few-shot explainer",
        "<!-- Written by python -m benchmarks.few_shot_ablation; do not edit. -->",
        f"Every row is trained in whole epochs, as near to {STEPS} optimiser steps of {BATCH} "
        "images as they come (the bundled explainers: 220), once for every seed, and measured by "
        "`ttame evaluate` (t-tame "
        f"protocol, top-1 class) on {MEASURED} photos that no training has seen. Numbers are "
        "means over the seeds; beside Average Drop is the 95 % bootstrap interval over photos. "
        "**p** is of a paired permutation test of Average Drop against the preset, on each photo's "
        "mean over the seeds, with Holm's correction over all rows and shares; the smallest of the "
        "three shares stands there with its shares, and whether the row is better or worse there.",
    ]
    for model in MODELS:
        section = section_of(model)
        if section:
            parts.append(f"## {model}\n\n{section}")
    parts.append(f"Machine: {machine_in_words()}.")
    (ROOT / "docs" / "few-shot-ablation.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def section_of(model: str) -> str:
    """The tables of a classifier, of the rows that are finished."""
    folder = FOLDER / model
    finished = finished_rows(folder / "measured")
    if WHOLE not in finished:
        return ""
    parts = [
        row_table(folder, finished, list(COLUMNS)),
        "± is the standard deviation over the seeds.",
    ]
    trimmed = finished_rows(folder / "trimmed")
    if all(name in trimmed for name in WITH_TIES):
        parts += [
            "A sigmoid that saturates gives many places the value 1, and T-TAME's protocol keeps "
            "every place that is tied with the last one of the share. With exactly the share kept:",
            row_table(folder, trimmed, [column for column in COLUMNS if "@" in column]),
        ]
    values = measured_values(folder / "bundled", REPORTED)
    if BUNDLED in values and PRIOR in values:
        parts += [
            f"The bundled explainer, of 220 steps, and its prior alone, on {REPORTED} photos; p of "
            "paired permutation tests with Holm's correction over the columns:",
            bundled_table(values[BUNDLED], values[PRIOR]),
        ]
    return "\n\n".join(parts)


def bundled_table(trained: Mapping[str, np.ndarray], prior: Mapping[str, np.ndarray]) -> str:
    """What training adds to the prior, column by column."""
    columns = {**COLUMNS, ROAD[0]: "ROAD, most relevant first", ROAD[1]: "ROAD, least relevant"}
    tests = [permutation_p_value([trained[c]], [prior[c]]) for c in columns]
    rows = [
        [words, *(interval_in_words(values[column]) for column in columns)]
        for words, values in (("bundled", trained), ("prior alone", prior))
    ]
    rows.append(["p", *(f"{p_value:.3f}" for p_value in corrected(tests))])
    return table(["explainer", *columns.values()], rows)


def interval_in_words(values: np.ndarray) -> str:
    low, high = bootstrap_interval([values])
    return f"{values.mean():.1f}<br>{low:.1f} to {high:.1f}"


def finished_rows(folder: Path) -> dict[str, list[dict[str, np.ndarray]]]:
    """Row to what was measured of each seed: column to one value a photo."""
    found: dict[str, list[dict[str, np.ndarray]]] = {}
    for label, values in measured_values(folder, MEASURED).items():
        name, _, _seed = label.rpartition("-")
        if name in ROWS:
            found.setdefault(name, []).append(values)
    return found


def row_table(
    folder: Path, finished: Mapping[str, list[dict[str, np.ndarray]]], columns: Sequence[str]
) -> str:
    """Rows down, columns across, and the test of each row against the preset."""
    means = {
        name: {column: np.mean([run[column] for run in runs], axis=0) for column in columns}
        for name, runs in finished.items()
    }
    others = [name for name in ROWS if name in means and name != WHOLE]
    drops = [column for column in columns if column.startswith("average_drop")]
    tests = [(name, column) for name in others for column in drops]
    found = [permutation_p_value([means[n][c]], [means[WHOLE][c]]) for n, c in tests]
    p_values = dict(zip(tests, corrected(found), strict=True))
    rows = []
    for name in [WHOLE, *others]:
        runs = finished[name]
        cells = [
            ROWS[name].words,
            steps_of(folder / f"{ROWS[name].like or name}-0"),
            str(len(runs)),
        ]
        for column in columns:
            values = means[name][column]
            cell = interval_in_words(values) if column in drops else f"{values.mean():.1f}"
            if len(runs) > 1:
                spread = statistics.stdev(float(run[column].mean()) for run in runs)
                cell += f"<br>± {spread:.1f}"
            cells.append(cell)
        cells.append("" if name == WHOLE else smallest_p(name, drops, p_values, means))
        rows.append(cells)
    return table(["training", "steps", "seeds", *(COLUMNS[name] for name in columns), "p"], rows)


def smallest_p(
    name: str,
    columns: list[str],
    p_values: Mapping[tuple[str, str], float],
    means: Mapping[str, Mapping[str, Any]],
) -> str:
    """The smallest p of a row, at which shares that is, and in which direction."""
    smallest = min(p_values[name, column] for column in columns)
    lines = [f"{smallest:.3f}"]
    if smallest < 1:
        for column in (c for c in columns if p_values[name, c] == smallest):
            worse = means[name][column].mean() > means[WHOLE][column].mean()
            lines.append(f"{COLUMNS[column]}, {'worse' if worse else 'better'}")
    return "<br>".join(lines)


def steps_of(folder: Path) -> str:
    """How many optimiser steps a finished training made."""
    log = folder / "training.jsonl"
    if not log.exists():
        return "0"
    steps = [json.loads(line)["step"] for line in log.read_text(encoding="utf-8").splitlines()]
    return str(max(steps))


def measured_values(folder: Path, photos: int) -> dict[str, dict[str, np.ndarray]]:
    """Label to column to one value a photo, from the rows that ``ttame evaluate`` keeps.

    A run that has not been measured on all photos yet is left out.
    """
    store = RowStore(folder)
    labels = sorted(place.name for place in (folder / "rows").glob("*"))
    values = {label: store.values(label)[2] for label in labels}
    return {
        label: found
        for label, found in values.items()
        if all(len(found.get(column, ())) == photos for column in COLUMNS)
    }


if __name__ == "__main__":
    main()
