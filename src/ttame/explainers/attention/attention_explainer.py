"""A classifier with its trained attention head."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ttame.classifiers.classifier import Classifier, FeatureReading
from ttame.errors import ExplainerError
from ttame.explainers.attention.attention_head import (
    AttentionHead,
    HeadSettings,
    gate_with_class_token,
)
from ttame.explainers.attention.trained_cards import trained_card
from ttame.explainers.explainer import ChooseClasses, Explainer, RawMaps


class AttentionExplainer(Explainer):
    """Explains with one forward pass of the classifier and its trained head.

    The maps are the head's output *before* the sigmoid, as in the published test protocol; the
    sigmoid is monotone, so it would rank the grid cells alike.

    Args:
        classifier: the network that the head was trained for.
        head: trained, or fresh from :func:`new_attention_explainer`.
        method: the name in the registry, e.g. ``"t_tame"``.
        training: what is known about its training: settings, data, figures; for the card.

    Raises:
        ExplainerError: the head does not fit the classifier's taps or classes.
        UnknownNameError: no such trained method.
    """

    def __init__(
        self,
        classifier: Classifier,
        head: AttentionHead,
        *,
        method: str = "t_tame",
        training: Mapping[str, Any] | None = None,
    ) -> None:
        tapped = tuple(tap.channels for tap in classifier.taps)
        if head.channels != tapped or head.number_of_classes != classifier.number_of_classes:
            raise ExplainerError(
                f"a head for channels {head.channels} and {head.number_of_classes} classes",
                allowed=f"channels {tapped} and {classifier.number_of_classes} classes, as "
                f"{classifier.name} has them",
            )
        self.classifier = classifier
        self.head = head.to(classifier.device).eval()
        self.card = trained_card(method)
        self.training_record = dict(training or {})

    def provenance(self) -> dict[str, Any]:
        """The classifier, the head's variant and how it was trained."""
        return {
            **super().provenance(),
            "head": self.head.settings.variant,
            "taps": [tap.layer for tap in self.classifier.taps],
        }

    def save(self, folder: Path | str, *, overwrite: bool = False) -> None:
        """Write config.json, explainer.safetensors and a card; see ``explainer_folder``."""
        from ttame.explainers.attention.explainer_folder import save_explainer

        save_explainer(self, folder, overwrite=overwrite)

    @torch.no_grad()
    def _raw_maps(self, images: Tensor, choose_classes: ChooseClasses) -> RawMaps:
        reading = self.classifier.read_features(images)
        classes = choose_classes(reading.logits)
        features = head_input(reading, self.head.settings)
        count = self.head.number_of_classes
        if classes.shape[1] == count and bool((classes == torch.arange(count)).all()):
            return RawMaps(reading.logits, classes, self.head(features))
        return RawMaps(reading.logits, classes, self.head(features, classes))


def head_input(reading: FeatureReading, settings: HeadSettings) -> list[Tensor]:
    """The feature maps as the head takes them: float32, with or without the class token.

    Raises:
        ExplainerError: the class token is to be multiplied, but the taps have none.
    """
    maps = [features.float() for features in reading.feature_maps]
    if settings.class_token == "drop":
        return maps
    gated = []
    for features, token in zip(maps, reading.class_tokens, strict=True):
        if token is None:
            raise ExplainerError(
                "class_token='multiply' for a network without a class token",
                allowed="class_token='drop'",
            )
        gated.append(gate_with_class_token(features, token.float()))
    return gated


def new_attention_explainer(
    classifier: Classifier,
    settings: HeadSettings = HeadSettings(),  # noqa: B008 - frozen
    *,
    method: str = "t_tame",
    seed: int = 0,
) -> AttentionExplainer:
    """An explainer with an untrained head that fits the classifier.

    Example:
        >>> from torch import nn
        >>> from ttame.preprocessing import Preprocessing
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(),
        ...                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> classifier = Classifier(network, preprocessing=Preprocessing.imagenet(16))
        >>> new_attention_explainer(classifier)(torch.zeros(2, 3, 16, 16)).maps.shape
        torch.Size([2, 1, 8, 8])
    """
    channels = [tap.channels for tap in classifier.taps]
    head = AttentionHead(channels, classifier.number_of_classes, settings, seed=seed)
    return AttentionExplainer(classifier, head, method=method)
