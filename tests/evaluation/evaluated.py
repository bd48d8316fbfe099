"""Small evaluations for the tests."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.datasets.noise_photos import save_photo
from tests.tiny_networks import tiny_cnn
from ttame.classifiers.classifier import Classifier
from ttame.evaluation.evaluate_methods import evaluate
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.method_card import MethodCard
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.known_explainers import make_explainer
from ttame.results.evaluation import Evaluation

METHODS = ("grad_cam", "random", "centre_gaussian")


def photo_folder(folder: Path, count: int = 10) -> Path:
    for index in range(count):
        save_photo(folder / f"{index:03d}.png", index, (40, 36))
    return folder


def explainers(classifier: Classifier, names: tuple[str, ...] = METHODS) -> dict[str, Explainer]:
    return {name: make_explainer(name, classifier) for name in names}


def run(data: Any, out: Path, classifier: Classifier | None = None, **options: Any) -> Evaluation:
    torch.set_num_threads(1)
    classifier = classifier or tiny_cnn()
    methods = options.pop("methods") if "methods" in options else explainers(classifier)
    return evaluate(classifier, data, methods, out, batch_size=4, **options)


def without_times(evaluation: Evaluation) -> Any:
    """Everything that must be the same in every run."""
    return [
        (method.name, method.scores, method.curves, method.cost.forward, method.cost.backward)
        for method in evaluation.methods
    ]


@dataclasses.dataclass(frozen=True, eq=False)
class FixedPicture(Explainer):
    """An explainer that ignores image, class and network."""

    picture: Tensor | None = None

    card = MethodCard("fixed", "Fixed picture", "baseline", "any", "none", "none")

    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        logits = self.classifier.logits(images)
        targets = request.targets(logits)
        rows, columns = np.mgrid[0:8, 0:8]
        slope = torch.tensor(rows * 3.0 + columns)
        picture = slope if self.picture is None else self.picture
        return RawMaps(logits, targets, picture.expand(*targets.shape, 8, 8).float())
