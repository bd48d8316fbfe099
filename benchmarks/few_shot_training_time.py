"""How long `ttame train` takes for the bundled few-shot explainers; writes BENCHMARKS.md

    python -m benchmarks.few_shot_training_time [--epochs 2]

Trains on the photos of the bundled explainers, with each preset's settings, a few of its epochs,
into a folder that is thrown away. An epoch counts with reading its photos and validating it. Run it
on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from pathlib import Path

import ttame
from benchmarks.benchmark_page import table, write_section
from ttame.training.training_progress import TrainingProgress
from ttame.training.training_settings import PRESETS, training_settings

TRAIN_PHOTOS = Path(__file__).parent / "photo_splits" / "train-800.txt"
MEMORY = (
    "with the memory settings that docs/how-to/train-on-your-network.md names for slow CPUs"
    if "MALLOC_TRIM_THRESHOLD_" in os.environ
    else "with the allocator as it is"
)
MODELS = ("efficientnet_lite0", "hybrid_vit_lite0")
TIMED = ("few-shot", "few-shot-quick")
"""Presets."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=2)
    epochs = parser.parse_args().epochs
    if not TRAIN_PHOTOS.exists():
        raise SystemExit(f"{TRAIN_PHOTOS} is missing")
    rows = []
    for model in MODELS:
        for preset in TIMED:
            seconds, whole = epoch_seconds(model, preset, epochs), PRESETS[preset].run.epochs
            minutes = whole * sum(seconds) / len(seconds) / 60
            measured = ", ".join(f"{one:.0f}" for one in seconds)
            rows.append([f"`{model}`", f"`{preset}`", measured, f"{whole}", f"{minutes:.1f}"])
    body = (
        "720 photos to train on, 80 held out, batches of 32, `--mixed-precision bf16`, one process "
        f"that reads photos next to the training, {MEMORY}.\n\n"
        + table(["classifier", "preset", "seconds of each epoch", "epochs", "minutes"], rows)
        + "\n\nThe last column is the mean of the measured epochs, times the preset's epochs."
    )
    write_section(
        "few-shot-training-time",
        "Training the few-shot explainer",
        "python -m benchmarks.few_shot_training_time",
        body,
    )


def epoch_seconds(model: str, preset: str, epochs: int) -> list[float]:
    """Of each epoch, from the end of the one before it to the end of its validation."""
    settings = training_settings(preset, epochs=epochs, workers=1, mixed_precision="bf16")
    ends = [time.perf_counter()]

    def watch(progress: TrainingProgress) -> None:
        if progress.validation is not None:
            ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        classifier = ttame.load_classifier(model)
        ttame.train_explainer(
            classifier, TRAIN_PHOTOS, Path(folder) / "head", settings, watch=watch
        )
    return [end - begin for begin, end in itertools.pairwise(ends)]


if __name__ == "__main__":
    main()
