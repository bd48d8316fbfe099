"""An exported file as a method among others, so that it can be drawn, compared and measured."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from ttame.classifiers.classifier import Classifier
from ttame.classifiers.explained_targets import ExplainedClasses
from ttame.classifiers.known_classifiers import load_described_classifier
from ttame.classifiers.recipe_rules import ForbiddenRecipeError
from ttame.errors import ClassSelectionError, ExplainerError, ImageError, either, setting
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.method_card import MethodCard
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.known_explainers import EXPLAINERS
from ttame.exporting.exported_explainer import ExportedExplainer, load_exported
from ttame.exporting.exported_facts import ExportedFacts
from ttame.networks.pass_counter import note_pass

_FAR_FROM_A_PIXEL = 0.01
"""Of 255: how far a photo of 8 bits may be from whole numbers after it was normalised."""

_MOST_PROBABLE = np.array([[-1]], dtype=np.int64)


@dataclasses.dataclass(frozen=True, eq=False)
class FileExplainer(Explainer):
    """The maps of an exported file, for the classifier that was exported.

    The file is run as it is deployed: ONNX Runtime computes the scores and the maps. The classifier
    in PyTorch is what metrics ask about changed images, and must have the same weights.

    Args:
        classifier: that was exported.
        exported: the file.

    Raises:
        ExplainerError: the classifier has other weights, prepares photos in another way, or reads
            its outputs in another way.

    Example:
        >>> import ttame
        >>> classifier = ttame.load_classifier("efficientnet_lite0")
        >>> exported = ttame.load_exported("why.onnx")  # doctest: +SKIP
        >>> FileExplainer(classifier, exported)("photo.jpg", "top2")  # doctest: +SKIP
        <Explanation by few_shot: maps 1 x 2 x 28 x 28>
    """

    exported: ExportedExplainer

    def __post_init__(self) -> None:
        facts, classifier = self.exported.facts, self.classifier
        if facts.fingerprint != classifier.fingerprint():
            raise ExplainerError(
                f"the file explains {facts.classifier} with weights {facts.fingerprint[:12]}, but "
                f"{classifier.name} has weights {classifier.fingerprint()[:12]}",
                allowed="the classifier that was exported",
                remedy="the same weights, or ttame export, which writes a file for these",
            )
        if facts.preprocess() != classifier.preprocessing:
            raise ExplainerError(
                f"the file prepares photos in another way than {classifier.name}",
                allowed=facts.preprocess().in_words(),
            )
        if facts.outputs != classifier.outputs.kind:
            raise ExplainerError(
                f"the file reads the outputs of {classifier.name} as {facts.outputs!r}, which are "
                f"said to be {classifier.outputs.kind!r}",
            )

    @property
    def card(self) -> MethodCard:
        """That of the method, which takes classes only here."""
        facts = self.exported.facts
        known = EXPLAINERS.get(facts.method)
        if known is None:
            raise ExplainerError(f"a file of the method {facts.method[:60]!r}, which is not known")
        return dataclasses.replace(known.card, targets=("classes",))

    def provenance(self) -> dict[str, Any]:
        """What the file says of the method, and which file it is."""
        facts = self.exported.facts
        return {**facts.provenance, "file": facts.sha256[:12], "precision": facts.precision}

    def for_classifier(self, classifier: Classifier) -> Self:
        """The same file for the same weights; there is no other.

        Raises:
            ExplainerError: the classifier has other weights.
        """
        if classifier.fingerprint() != self.exported.facts.fingerprint:
            raise ExplainerError(
                "an exported file for another classifier, such as one of random weights",
                allowed="the classifier that was exported",
                remedy="the explainer that it was made of",
            )
        return dataclasses.replace(self, classifier=classifier)

    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        chosen: list[ExplainedClasses] = []

        def choose(scores: Tensor) -> Tensor:
            targets = request.targets(scores.to(images.device))
            if not isinstance(targets, ExplainedClasses):
                raise ClassSelectionError("a target other than classes", allowed="classes")
            chosen.append(targets)
            return targets.classes.cpu()

        given = self._as_taken(images).numpy()
        found = self.exported.explained(given, choose, _MOST_PROBABLE)
        maps, scores = found.maps.to(images.device), found.logits.to(images.device)
        note_pass(len(images), scores)
        return RawMaps(scores, chosen[0], maps)

    def _as_taken(self, images: Tensor) -> Tensor:
        """Normalised images as the file takes them; of pixels, only those of 8 bits."""
        if self.exported.facts.takes == "images":
            return images.float().cpu()
        pixels = 255 * self.exported.preprocessing.denormalise(images.float().cpu())
        rounded = pixels.round().clamp(0, 255)
        if bool((pixels - rounded).abs().max() > _FAR_FROM_A_PIXEL):
            raise ImageError(
                "images that are not photos of 8 bits, which the file takes",
                remedy=f"exporting with {setting('takes', 'images')}",
            )
        return rounded.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def load_file_explainer(
    path: Path | str,
    classifier: Classifier | None = None,
    *,
    weights: Path | str | None = None,
    device: torch.device | str | None = None,
) -> FileExplainer:
    """Load an exported ONNX file as a method.

    Args:
        path: the file, which may come from a stranger.
        classifier: that was exported; if not given, it is loaded as it was for the export.
        weights: the weights of the classifier, if they have moved.
        device: the device of the classifier; the file runs on the CPU.

    Raises:
        ExplainerError: see :func:`ttame.load_exported` and :class:`FileExplainer`; or the
            classifier has to be passed.
    """
    exported = load_exported(path)
    if classifier is None:
        classifier = _described(exported.facts, path, weights, device)
    return FileExplainer(classifier, exported)


def _described(
    facts: ExportedFacts,
    path: Path | str,
    weights: Path | str | None,
    device: torch.device | str | None,
) -> Classifier:
    recipe = facts.classifier_recipe()
    remedy = either("classifier=...", "--model NAME")
    if recipe is None:
        raise ExplainerError(
            f"{path} explains {facts.classifier}, which ttame cannot load by name", remedy=remedy
        )
    try:
        return load_described_classifier(recipe, taps=None, weights=weights, device=device)
    except ForbiddenRecipeError as problem:
        raise ExplainerError(
            f"{path} asks for {problem.problem}, which only you may ask for",
            allowed=f"in a file {problem.allowed}",
            remedy=remedy + ", if you trust it",
        ) from problem
