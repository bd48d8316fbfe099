"""What is checked and noted before many photos are explained, whatever is written of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ttame.classifiers.class_selection import ClassSelection, class_index
from ttame.datasets.named_photos import open_named_photos
from ttame.drawing.map_strength import Strength
from ttame.errors import ClassSelectionError, ExplainerError, setting
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.labelled_explainers import labelled_explainers
from ttame.explaining.explain_photos import Explaining
from ttame.explaining.explained_batch import classes_for_all
from ttame.reporting.method_label import method_labels
from ttame.reporting.report_contents import ComparedClass, ReportFacts
from ttame.reporting.unfinished_report import shared_identity


def what_to_explain(
    photos: Any,
    explainers: Explainer | Sequence[Explainer] | Mapping[str, Explainer],
    classes: ClassSelection,
    rather_than: str | None,
    batch_size: int,
) -> Explaining:
    """Open the photos, and check all that was asked for.

    Raises:
        TtameError: as :func:`ttame.explain`.
    """
    if batch_size < 1:
        raise ExplainerError(f"batch_size {batch_size}", allowed="1 or more")
    labelled = labelled_explainers(explainers, photos)
    _refuse_explainers_of_texts(labelled)
    explaining = Explaining(open_named_photos(photos), labelled, "top1", batch_size)
    explaining.refuse_different_networks()
    classifier = explaining.classifier
    fixed = classes_for_all(classes, classifier, len(labelled))
    other = None
    if rather_than is not None:
        other = class_index(rather_than, classifier.class_names, classifier.number_of_classes)
    return dataclasses.replace(explaining, classes=fixed, rather_than=other)


def _refuse_explainers_of_texts(labelled: Mapping[str, Explainer]) -> None:
    for label, explainer in labelled.items():
        kind = explainer.classifier.kind
        if kind != "images":
            raise ExplainerError(
                f"{label} explains {explainer.classifier.name}, a classifier of {kind}",
                allowed="explainers of a ttame.Classifier",
                remedy="ttame.text.explain(texts, explainer, folder)",
            )


def refuse_lone_contrast(strength: Strength, classes: str | Tensor) -> None:
    """Raise if maps are to be drawn in contrast with others, and there are none."""
    lone = classes == "top1" if isinstance(classes, str) else classes.shape[-1] == 1
    if strength == "contrast" and lone:
        raise ClassSelectionError(
            "a contrast of a single class",
            allowed="two or more explained classes",
            remedy=setting("classes", "top2"),
        )


def facts_of(explaining: Explaining, title: str | None, left_out: Mapping[str, str]) -> ReportFacts:
    """What a report says as a whole of what is explained."""
    explainers, classifier = explaining.explainers, explaining.classifier
    other = explaining.rather_than
    return ReportFacts(
        classifier.preprocessing,
        title or f"Why did {classifier.name} say that?",
        methods={label: explainer.provenance() for label, explainer in explainers.items()},
        labels=method_labels(explainers),
        left_out=left_out,
        rather_than=None if other is None else ComparedClass(other, classifier.class_label(other)),
    )


def identity_of(explaining: Explaining) -> dict[str, Any]:
    """What a later run must have in common to go on, however its results are written."""
    return {
        **shared_identity(explaining),
        "preprocessing": explaining.classifier.preprocessing.in_words(),
        "data": explaining.photos.fingerprint(),
    }
