"""The pointing game of the few-shot explainers: which annotated images, and their rows."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.few_shot_plans import POINTING
from benchmarks.few_shot_study import Compared, Rows, measure, on_images
from benchmarks.operating_points import ROOT
from ttame.classifiers.classifier import Classifier
from ttame.datasets.annotations import fingerprint_of, open_annotations
from ttame.datasets.open_photos import open_photos
from ttame.evaluation.measuring import spread
from ttame.files.atomic_writing import write_json

BOXES = ROOT.parent / "shared" / "data" / "tiny-imagenet-boxes"


def pointing_rows(study: Compared, names: Sequence[str], limit: int) -> tuple[Rows, Rows]:
    """Rows of annotated images: of all, and of those whose labelled class the network names."""
    images = annotated_images(study)
    images = [images[place] for place in spread(len(images), limit)]
    listed = study.folder / f"pointing-{len(images)}.txt"
    lines = (
        f"{os.path.relpath(BOXES / 'images' / i.file, study.folder)} {i.label}" for i in images
    )
    listed.write_text("\n".join(lines) + "\n", encoding="utf-8")
    annotations = BOXES / "annotations.json"
    rows = measure(
        study,
        open_photos(listed),
        POINTING,
        names,
        len(images),
        targets=open_annotations(
            annotations, study.classifier.preprocessing, study.classifier.class_names
        ),
        annotations=fingerprint_of(annotations),
    )
    named = np.array([place for place, image in enumerate(images) if image.rank == 0])
    return rows, {name: on_images(method, named) for name, method in rows.items()}


@dataclasses.dataclass(frozen=True)
class AnnotatedImage:
    """A file with one box, its class, and how many classes the network finds likelier."""

    file: str
    label: int
    rank: int


def annotated_images(study: Compared, largest: float = 0.5, worst: int = 4) -> list[AnnotatedImage]:
    """Those whose box covers less than half and whose class is among the network's first five.

    A map's maximum says little where the box is the picture, or where the network does not see the
    object. Ranks are kept.
    """
    kept = study.folder / "annotated.json"
    if not kept.exists():
        listed = boxed_files(json.loads((BOXES / "annotations.json").read_text()), largest)
        ranks = ranks_of(study.classifier, [BOXES / "images" / file for file, _ in listed],
                         [label for _, label in listed])  # fmt: skip
        write_json(
            kept, {"images": [[*pair, rank] for pair, rank in zip(listed, ranks, strict=True)]}
        )
    images = [AnnotatedImage(*entry) for entry in json.loads(kept.read_text())["images"]]
    return [image for image in images if image.rank <= worst]


def boxed_files(coco: Mapping[str, Any], largest: float) -> list[tuple[str, int]]:
    """File and class of the images whose box covers less than a share of the picture."""
    images = {image["id"]: image for image in coco["images"]}
    classes = {entry["id"]: entry["imagenet1k_index"] for entry in coco["categories"]}
    found = []
    for entry in coco["annotations"]:
        image = images[entry["image_id"]]
        covered = entry["bbox"][2] * entry["bbox"][3] / (image["width"] * image["height"])
        if covered < largest:
            found.append((image["file_name"], classes[entry["category_id"]]))
    return found


@torch.no_grad()
def ranks_of(
    classifier: Classifier, files: Sequence[Path], labels: Sequence[int], batch: int = 8
) -> list[int]:
    """How many classes the network finds likelier than the labelled one."""
    fast = classifier.for_many_passes()
    ranks = []
    for start in range(0, len(files), batch):
        logits = fast.logits(classifier.prepare(list(files[start : start + batch])))
        own = logits.gather(1, torch.tensor(labels[start : start + batch])[:, None])
        ranks += (logits > own).sum(dim=1).tolist()
    return ranks
