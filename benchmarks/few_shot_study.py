"""A classifier, the explainers that are compared on it, and how their rows are measured."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import ttame
from benchmarks.few_shot_plans import BASELINES, PLANS, Part, Plan
from benchmarks.operating_points import (
    REPORT_PHOTOS,
    ROOT,
    TRAINED,
    chosen_explainer,
    kept_name,
)
from ttame.classifiers.classifier import Classifier
from ttame.datasets.open_photos import open_photos
from ttame.datasets.photo_source import PhotoSource
from ttame.evaluation.evaluate_methods import evaluate
from ttame.evaluation.listening import Silence
from ttame.evaluation.row_store import RowStore
from ttame.evaluation.summary import MeasuredMethod
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.known_explainers import make_explainer

FOLDER = ROOT / "runs" / "few_shot_report"
RISE_MASKS = 1000

Rows = dict[str, MeasuredMethod]
"""Method to what was measured of it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Compared:
    """A classifier, and explainers that are compared on it.

    Attributes:
        classifier: the explained network.
        explainers: method to explainer, the trained one first.
        folder: of everything that is kept.
    """

    classifier: Classifier
    explainers: Mapping[str, Explainer]
    folder: Path


@dataclasses.dataclass(frozen=True, eq=False)
class Study(Compared):
    """The same with a plan.

    Attributes:
        plan: what is measured.
        photos: that no training has seen.
    """

    plan: Plan
    photos: PhotoSource

    def only(self, names: Sequence[str]) -> list[str]:
        """The trained explainer, and those of ``names`` that are compared."""
        return [TRAINED, *(name for name in names if name in self.explainers and name != TRAINED)]


def new_study(
    model: str, folder: str | None, names: Sequence[str] | None, photos: int | None
) -> Study:
    """Load everything; ``names`` and ``photos`` make less of it."""
    classifier = ttame.load_classifier(model)
    plan = PLANS[model]
    if photos:
        plan = dataclasses.replace(
            plan,
            photos=min(photos, plan.photos),
            road_photos=min(photos, plan.road_photos),
            curve_photos=min(photos, plan.curve_photos),
        )
    wanted = names or [*plan.rivals, *plan.others, *BASELINES, *plan.read_rivals, *plan.costly]
    explainers = {TRAINED: chosen_explainer(TRAINED, classifier, folder)}
    for name in (name for name in wanted if name != TRAINED):
        settings: dict[str, Any] = {"masks": RISE_MASKS} if name == "rise" else {}
        explainers[name] = make_explainer(name, classifier, **settings)
    kept = FOLDER / f"{model}-{classifier.fingerprint()[:8]}"
    kept.mkdir(parents=True, exist_ok=True)
    return Study(classifier, explainers, kept, plan, open_photos(REPORT_PHOTOS))


def measure(
    study: Compared,
    photos: PhotoSource,
    part: Part,
    names: Sequence[str],
    count: int,
    *,
    folder: str = "",
    **options: Any,
) -> Rows:
    """Evaluate what is not finished, and read it all.

    Args:
        study: what is compared.
        photos: to measure on.
        part: what is measured.
        names: of methods.
        count: of photos, evenly spread.
        folder: where rows are kept; named after the part if not given.
        **options: of :func:`ttame.evaluate`.
    """
    out = study.folder / (folder or f"{part.name}-{count}")
    labels = {name: kept_name(name, study.explainers[name]) for name in names}
    evaluate(
        study.classifier,
        photos,
        {labels[name]: study.explainers[name] for name in names},
        out,
        protocol=part.protocol,
        metrics=part.metrics,
        limit=count,
        resume=True,
        listener=Progress(part.name),
        **options,
    )
    store = RowStore(out)
    return {name: MeasuredMethod(store, label) for name, label in labels.items()}


class Progress(Silence):
    """Prints which method starts, and when."""

    def __init__(self, part: str) -> None:
        self._part = part

    def begin(self, method: str, images: int, finished: int) -> None:
        """See :class:`ttame.evaluation.measuring.Listener`."""
        if finished < images:
            self._say(f"{method}, {finished} of {images} images finished")

    def randomising(self, method: str) -> None:
        """See :class:`ttame.evaluation.measuring.Listener`."""
        self._say(f"{method} with a randomised network")

    def _say(self, words: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {self._part}: {words}", flush=True)


def on_images(method: MeasuredMethod, numbers: np.ndarray) -> MeasuredMethod:
    """The rows of some images only."""
    chosen = np.isin(method.images, numbers)
    part = copy.copy(method)
    part.images, part.classes = method.images[chosen], method.classes[chosen]
    part.values = {key: values[chosen] for key, values in method.values.items()}
    return part
