"""What the bundled classifiers know, and what the transformer owes to attention and positions.

    python -m benchmarks.bundled_classifiers [--limit N]

Measures the shipped weights, from photos on, on photos that training has not seen:
benchmarks/photo_splits/report-200.txt, and the validation shard of Tiny-ImageNet. Both lie in
../shared/data, which is not part of the project. Writes a section of BENCHMARKS.md and figures.json
beside the transformer's weights, from which ``scripts.hybrid_vit.ship`` takes the card's tables.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import ttame
from benchmarks.benchmark_page import table, write_section
from benchmarks.transformer_ablations import (
    with_permuted_positions,
    with_uniform_attention,
    with_uniform_class_attention,
)
from ttame.classifiers.classifier import Classifier
from ttame.datasets.open_photos import open_photos
from ttame.datasets.photo_source import PhotoSource
from ttame.files.atomic_writing import write_json

HERE = Path(__file__).parent
DATA = HERE.parent.parent / "shared" / "data"
TEACHER, STUDENT = "efficientnet_lite0", "hybrid_vit_lite0"
BATCH = 25

FIGURES = {
    "top-1": "top-1 %",
    "top-5": "top-5 %",
    "top-1 of known": "top-1 % of {known}",
    "top-5 of known": "top-5 % of {known}",
    "agreement": "teacher's top-1 %",
    "in top-5": "in top-5 %",
    "divergence": "KL in nats",
}
"""Names in figures.json, and the columns of the tables."""

Figure = Mapping[str, float]
"""Mean and the ends of its 95 % bootstrap interval."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=DATA / "tiny-imagenet" / "val-0000.tar")
    parser.add_argument("--classes", type=Path, default=DATA / "tiny-imagenet" / "classes.csv")
    parser.add_argument("--photos", type=Path, default=HERE / "photo_splits" / "report-200.txt")
    parser.add_argument("--limit", type=int, help="images of each set; nothing is written")
    options = parser.parse_args()
    for place in (options.data, options.classes, options.photos):
        if not place.exists():
            raise SystemExit(f"{place} is missing: this benchmark needs ../shared/data")
    networks = {name: found.for_many_passes() for name, found in measured_networks().items()}
    tiny, photos = open_photos(options.data), open_photos(options.photos)
    of_rows = classes_of_rows(options.classes)
    sets = [
        measured_set("Tiny-ImageNet validation", networks, tiny, options.limit, of_rows),
        measured_set("Sample photos kept out", networks, photos, options.limit),
    ]
    figures = {
        "weights_file": hashlib.sha256(shipped("transformer.safetensors").read_bytes()).hexdigest(),
        "measured_on": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "sets": sets,
    }
    if options.limit:
        print(figures_in_tables(figures))
        return
    write_json(shipped("figures.json"), figures)
    write_section(
        "bundled-classifiers",
        "The bundled classifiers",
        "python -m benchmarks.bundled_classifiers",
        figures_in_tables(figures),
    )


def shipped(name: str) -> Path:
    return Path(str(files("ttame.classifiers") / STUDENT / name))


def measured_networks() -> dict[str, Classifier]:
    """The teacher first, the shipped transformer, and copies of it that lack something."""
    student = ttame.load_classifier(STUDENT)
    ablated = {
        "uniform attention": with_uniform_attention(student.network),
        "uniform attention of the class token": with_uniform_class_attention(student.network),
        "permuted positions": with_permuted_positions(student.network),
    }
    return {
        TEACHER: ttame.load_classifier(TEACHER),
        STUDENT: student,
        **{
            f"{STUDENT}, {lack}": Classifier(
                network,
                preprocessing=student.preprocessing,
                taps=[tap.layer for tap in student.taps],
            )
            for lack, network in ablated.items()
        },
    }


def classes_of_rows(file: Path) -> Tensor:
    """(K,) ImageNet-1k indices of the rows of classes.csv, which the shard's labels are."""
    with file.open(encoding="utf-8", newline="") as opened:
        rows = sorted(csv.DictReader(opened), key=lambda row: int(row["label"]))
    return torch.tensor([int(row["imagenet1k_index"]) for row in rows])


@torch.inference_mode()
def measured_set(
    title: str,
    networks: Mapping[str, Classifier],
    photos: PhotoSource,
    limit: int | None = None,
    classes: Tensor | None = None,
) -> dict[str, Any]:
    """Figures of all networks on a set of photos; the first network is the teacher.

    Args:
        title: of the set.
        networks: name to classifier; all prepare photos in the same way.
        photos: labelled by class, or by row of ``classes``.
        limit: how many photos to look at, spread over the whole set.
        classes: (K,) class of each label, if labels are not classes; the classes that occur.
    """
    count = min(limit or len(photos), len(photos))
    chosen = [index * len(photos) // count for index in range(count)]
    parts: dict[str, list[Tensor]] = {name: [] for name in networks}
    columns: list[str] = []
    for start in range(0, count, BATCH):
        indices = chosen[start : start + BATCH]
        labels = torch.tensor([label_of(photos, index) for index in indices])
        labels = labels if classes is None else classes[labels]
        teacher, *_ = networks.values()
        images = teacher.prepare([photos.read(index) for index in indices])
        taught = teacher.logits(images).float()
        for name, network in networks.items():
            logits = taught if network is teacher else network.logits(images).float()
            rows = figures_of(logits, taught, labels, classes)
            columns = list(rows)
            parts[name].append(torch.stack(list(rows.values()), dim=1))
        print(f"{title}: {start + len(indices)}/{count}", flush=True)
    return {
        "title": title,
        "images": count,
        "known_classes": None if classes is None else len(classes),
        "networks": {
            name: dict(zip(columns, with_intervals(torch.cat(rows)), strict=True))
            for name, rows in parts.items()
        },
    }


def label_of(photos: PhotoSource, index: int) -> int:
    """The photo's label, or the class with which names such as 000_n01440764_tench.jpg begin."""
    label = photos.label(index)
    return int(Path(photos.name(index)).name[:3]) if label is None else label


def figures_of(
    logits: Tensor, teacher_logits: Tensor, labels: Tensor, classes: Tensor | None = None
) -> dict[str, Tensor]:
    """Name to one number for each image, (B,); shares in per cent.

    Args:
        logits: (B, C).
        teacher_logits: (B, C).
        labels: (B,) classes.
        classes: (K,) the only classes that occur; with them, also figures among these alone.
    """
    figures = {"top-1": among_best(logits, labels, 1), "top-5": among_best(logits, labels, 5)}
    if classes is not None:
        places = (labels[:, None] == classes).int().argmax(dim=1)
        for count in (1, 5):
            figures[f"top-{count} of known"] = among_best(logits[:, classes], places, count)
    best = teacher_logits.argmax(dim=1)
    divergences = torch.nn.functional.kl_div(
        logits.log_softmax(1), teacher_logits.softmax(1), reduction="none"
    )
    return figures | {
        "agreement": among_best(logits, best, 1),
        "in top-5": among_best(logits, best, 5),
        "divergence": divergences.sum(dim=1),
    }


def among_best(logits: Tensor, classes: Tensor, count: int) -> Tensor:
    """(B,) 100 where the class is among the best ``count``, else 0."""
    best = logits.topk(count, dim=1).indices
    return 100 * (best == classes[:, None]).any(dim=1).float()


def with_intervals(values: Tensor) -> list[Figure]:
    """Mean and 95 % bootstrap interval of each column of (N, F) values of images."""
    generator = torch.Generator().manual_seed(0)
    means = torch.stack(
        [
            values[torch.randint(len(values), (len(values),), generator=generator)].mean(dim=0)
            for _ in range(1000)
        ]
    )
    low, high = means.quantile(torch.tensor([0.025, 0.975]), dim=0)
    return [
        {"mean": round(float(m), 3), "low": round(float(a), 3), "high": round(float(b), 3)}
        for m, a, b in zip(values.mean(dim=0), low, high, strict=True)
    ]


def figures_in_tables(figures: Mapping[str, Any]) -> str:
    """The content of figures.json as Markdown, a table for each set of photos."""
    parts = [_EXPLANATION]
    for found in figures["sets"]:
        networks: Mapping[str, Mapping[str, Figure]] = found["networks"]
        columns = [name for name in FIGURES if name in networks[TEACHER]]
        header = [FIGURES[name].format(known=found["known_classes"]) for name in columns]
        rows = [
            [name, *(_in_words(own[column], column) for column in columns)]
            for name, own in networks.items()
        ]
        parts.append(f"### {found['title']}, {found['images']} photos")
        parts.append(table(["network", *header], rows))
    return "\n\n".join(parts)


def _in_words(figure: Figure, column: str) -> str:
    digits = 2 if column == "divergence" else 1
    half = (figure["high"] - figure["low"]) / 2
    return f"{figure['mean']:.{digits}f} ± {half:.{digits}f}"


_EXPLANATION = (
    "Top-1 and top-5 are against labels, among all 1000 classes and, where so headed, among the "
    "classes of the set alone. Teacher's top-1: share of photos where the network's first class "
    "is EfficientNet-Lite0's; in top-5: where EfficientNet-Lite0's first class is among its five; "
    "KL: mean divergence from EfficientNet-Lite0's probabilities. ± is half a 95 % bootstrap "
    "interval over photos. Uniform attention: every token of every block attends to all tokens "
    "alike; of the class token: only the class token does. Permuted positions: each patch has "
    "the position embedding of another, which is the same as shuffling the patches after the stem. "
    "The sample photos are of ImageNet's training set. The transformer has not seen these, but "
    "EfficientNet-Lite0 was trained on them, and so was the stem that both share: expect less of "
    "both on new photos. Which photos of Tiny-ImageNet EfficientNet-Lite0 has seen is not known."
)


if __name__ == "__main__":
    main()
