"""What each part of the few-shot explainer is worth, as a table in docs/few-shot-ablation.md

    python -m benchmarks.few_shot_ablation [--model NAME] [--seeds 3] [--rows NAME,...] [--page]

Trains every row of the table in whole epochs, as near to the same number of optimiser steps as
they come, with every seed, by ``ttame.train_explainer``, and measures all of them by
``ttame.evaluate`` on 100 photos that no training has seen; the bundled explainer and its prior
alone on all 200. The command can be stopped at any moment and goes on where it was: trainings are
in runs/few_shot_ablation, and what was measured is in benchmarks/few_shot_ablation_values, which
belongs to the repository. ``--page`` only writes the page from that.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import torch

import ttame
from benchmarks.few_shot_ablation_page import write_page
from benchmarks.few_shot_ablation_rows import (
    BATCH,
    BUNDLED,
    BY_HELD_GROUND,
    COLUMNS,
    FAMILIES,
    MEASURED,
    MODELS,
    PRECISIONS,
    PRIOR,
    ROAD,
    ROWS,
    STEPS,
    WITH_TIES,
    Row,
)
from benchmarks.few_shot_ablation_values import Kept, is_kept, keep
from ttame.classifiers.classifier import Classifier
from ttame.datasets.open_photos import open_photos
from ttame.datasets.wrapped_dataset import WrappedDataset
from ttame.evaluation.evaluate_methods import evaluate, machine_in_words
from ttame.evaluation.row_store import RowStore
from ttame.explainers.trained.attention_explainer import (
    AttentionExplainer,
    new_attention_explainer,
)
from ttame.explainers.trained.head_settings import SharedHeadSettings
from ttame.explainers.trained.map_scale import exponents_for_means
from ttame.explainers.trained.older_settings import FLAT_DEFAULTS
from ttame.explainers.trained.shared_head import SharedHead
from ttame.metrics.known_protocols import known_protocol
from ttame.metrics.protocol import Protocol
from ttame.networks.weights_files import weight_fingerprint
from ttame.training.kept_share_objective import KeptShareObjective
from ttame.training.training_settings import TrainingSettings, training_settings

HERE = Path(__file__).parent
ROOT = HERE.parent
DATA = ROOT.parent / "shared" / "data"
FOLDER = ROOT / "runs" / "few_shot_ablation"
TRAIN_PHOTOS = HERE / "photo_splits" / "train-800.txt"
REPORT_PHOTOS = HERE / "photo_splits" / "report-200.txt"
FIRST_SETTINGS = (
    "preset", "method", "head", "class_token", "maps", "without", "last_tap_only", "masked",
    "masking_space", "augmentation", "objective", "mean_map", "details", "map_selection",
    "cross_entropy_weight", "area_weight", "area_power", "smoothness_weight", "border_weight",
    "epochs", "batch_size", "optimiser", "learning_rate", "bias_learning_rate_factor",
    "momentum", "weight_decay", "held_out_share", "held_out_at_most", "seed", "mixed_precision",
    "gradient_accumulation", "workers", "checkpoint_every",
)  # fmt: skip
"""Those that there were when the first rows were measured."""
NAMED_THEN = {"few-shot-quick": "few-shot"}
"""Preset to its name when the first rows were measured."""
TINY_IMAGENET = DATA / "tiny-imagenet" / "train-0000.tar"
HELD_OUT = 20
WANTED_MEAN = training_settings("few-shot").flat()["mean_map"]
METRICS = ("average_drop", "increase_in_confidence", "mean_map")
T_TAME = known_protocol("t-tame")
PROTOCOLS = {
    "measured": T_TAME,
    "trimmed": dataclasses.replace(T_TAME, name="t-tame-trimmed", ties="trimmed"),
    "held-ground": dataclasses.replace(known_protocol("held-ground"), gate_images=0),
}
"""Measurement to protocol."""
ONLY = {"trimmed": WITH_TIES, "held-ground": BY_HELD_GROUND}
"""Measurements of some rows only."""


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
    row, label = ROWS[name], f"{name}-{seed}"
    asked = [m for m in PROTOCOLS if name in ONLY.get(m, ROWS)]
    made_from = {m: hash_of(model, row, seed, PROTOCOLS[m]) for m in asked}
    missing = [m for m in asked if not is_kept(model, m, label, made_from[m])]
    if not missing or (seed and not row.trained):
        return
    folder = FOLDER / model
    out = folder / f"{row.like or name}-{seed}"
    classifier = ttame.load_classifier(model)
    if row.taps:
        taps = [classifier.taps[place].layer for place in row.taps]
        classifier = ttame.load_classifier(model, taps=taps)
    if not (out / "config.json").exists():
        if row.trained:
            print(f"{model}: training {row.like or name}, seed {seed}", flush=True)
            settings = settings_of(model, row, seed)
            ttame.train_explainer(
                classifier, training_photos(row.images), out, settings, resume=True
            )
        else:
            save_prior_alone(classifier, out)
    explainer = ttame.load_explainer(out, classifier=classifier)
    if row.like:
        explainer.head.settings = dataclasses.replace(explainer.head.settings, details=row.details)
        fit_exponent(explainer, WANTED_MEAN)
    with_default_taps = ttame.load_classifier(model)
    for measurement in missing:
        evaluate(
            with_default_taps,
            str(REPORT_PHOTOS),
            {label: explainer},
            folder / measurement,
            protocol=PROTOCOLS[measurement],
            metrics=("held_ground",) if measurement == "held-ground" else METRICS,
            limit=MEASURED,
            resume=True,
        )
        columns = FAMILIES if measurement == "held-ground" else COLUMNS
        kept = kept_of(explainer, folder / measurement, label, columns, made_from[measurement])
        keep(model, measurement, label, kept)


def measure_bundled(model: str) -> None:
    """The bundled explainer, trained for longer, and what it started from, on all photos."""
    classifier = ttame.load_classifier(model)
    # The one that the preset of most rows trained.
    bundled = ttame.load_explainer(f"{model}--few-shot-quick", classifier=classifier)
    made_from = {
        BUNDLED: hash_of_explainer(bundled),
        PRIOR: hash_of(model, ROWS[PRIOR], 0, T_TAME),
    }
    if all(is_kept(model, "bundled", *pair) for pair in made_from.items()):
        return
    prior = FOLDER / model / f"{PRIOR}-0"
    if not (prior / "config.json").exists():
        save_prior_alone(classifier, prior)
    explainers = {
        BUNDLED: bundled,
        PRIOR: ttame.load_explainer(prior, classifier=classifier),
    }
    folder = FOLDER / model / "bundled"
    metrics = (*METRICS, *ROAD)
    evaluate(classifier, str(REPORT_PHOTOS), explainers, folder, metrics=metrics, resume=True)
    for label, explainer in explainers.items():
        columns = [*COLUMNS, *ROAD]
        kept = kept_of(explainer, folder, label, columns, made_from[label])
        keep(model, "bundled", label, kept)


def hash_of(model: str, row: Row, seed: int, protocol: Protocol) -> str:
    """Of all that decides what is measured, but for the code."""
    # In the form of when the first rows were measured: flat, with what nothing reads, and without
    # the settings that came later where nobody has changed them.
    settings = {**FLAT_DEFAULTS, **settings_of(model, row, seed).flat()}
    younger = SharedHeadSettings().flat() | KeptShareObjective().flat()
    settings = {
        name: value
        for name, value in settings.items()
        if name in FIRST_SETTINGS or value != younger.get(name)
    }
    preset = NAMED_THEN.get(row.preset, row.preset)
    settings["preset"] = preset
    facts = dataclasses.asdict(row) | {"words": "", "preset": preset, "settings": settings}
    return hash_of_texts(json.dumps([facts, protocol.hash, MEASURED], sort_keys=True))


def hash_of_explainer(explainer: AttentionExplainer) -> str:
    """Of what a trained explainer is, in whichever form it is saved."""
    facts = {**explainer.provenance(), "weights": weight_fingerprint(explainer.head)}
    return hash_of_texts(json.dumps(facts, sort_keys=True))


def hash_of_texts(text: str) -> str:
    """Of a text and the lists of photos."""
    lists = [path.read_text(encoding="utf-8") for path in (TRAIN_PHOTOS, REPORT_PHOTOS)]
    return hashlib.sha256("\0".join([text, *lists]).encode()).hexdigest()[:16]


def kept_of(
    explainer: AttentionExplainer, folder: Path, label: str, columns: Iterable[str], made_from: str
) -> Kept:
    """What ``ttame evaluate`` keeps of an explainer in ``folder``."""
    values = RowStore(folder).values(label)[2]
    return Kept(
        made_from=made_from,
        steps=int(explainer.training_record.get("steps", 0)),
        machine=machine_in_words(),
        values={column: values[column] for column in columns},
    )


def save_prior_alone(classifier: Classifier, out: Path) -> None:
    """The prior, of which training would have found the exponent alone."""
    preset = training_settings("few-shot-quick", without="embedding,gate")
    explainer = new_attention_explainer(classifier, preset.head, method=preset.method)
    fit_exponent(explainer, WANTED_MEAN)
    explainer.save(out, overwrite=True)


@torch.no_grad()
def fit_exponent(explainer: AttentionExplainer, mean: float) -> None:
    """Give the maps of 100 training photos their mean, as training would have."""
    head, classifier = cast("SharedHead", explainer.head), explainer.classifier
    photos = training_photos(100)
    found = []
    for place in range(len(photos)):
        reading = classifier.read_features(classifier.prepare(photos.read(place)))
        classes = reading.logits.argmax(dim=1)[:, None]
        found.append(head.unit_range(head.maps(classifier, reading, classes)).flatten())
    head.exponent.copy_(exponents_for_means(torch.cat(found)[None], torch.tensor([mean]))[0])


def settings_of(model: str, row: Row, seed: int) -> TrainingSettings:
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
            "mixed_precision": PRECISIONS[model],
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


if __name__ == "__main__":
    main()
