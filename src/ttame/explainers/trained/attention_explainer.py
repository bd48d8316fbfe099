"""A classifier with its trained attention head."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from ttame.classifiers.any_classifier import AnyClassifier, Explainable
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.features_from import (
    WithFeaturesFrom,
    taken_apart,
    with_features_from,
)
from ttame.classifiers.given_network import classifier_of
from ttame.errors import ExplainerError, kind_of
from ttame.explainers.contract.explainer import Explained, Explainer
from ttame.explainers.contract.method_card import MethodCard
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.trained.explainer_config import config_of, texts_of
from ttame.explainers.trained.explainer_files import write_explainer_files
from ttame.explainers.trained.head import Head
from ttame.explainers.trained.head_settings import AttentionHeadSettings, HeadSettings
from ttame.explainers.trained.known_heads import plan_head
from ttame.explainers.trained.trained_cards import trained_card
from ttame.files.atomic_writing import whole_folder
from ttame.networks.giving_back import gives_everything_back


@dataclasses.dataclass(frozen=True, eq=False)
class AttentionExplainer(Explainer[Explained]):
    """Explains with one forward pass of the classifier and its trained head.

    The maps of the published heads are the head's output *before* the sigmoid, as in their test
    protocol. Those of a head whose settings say ``maps="sigmoid"`` are the mask of training;
    with ``maps="min-max"`` every map goes from 0 to 1. All three rank the grid cells equally. The
    map of a weighting is the weighted sum of the head's outputs for its classes, scaled then.

    Args:
        classifier: the network that the head was trained for.
        head: trained, or fresh from :func:`new_attention_explainer`.
        method: the name in the registry, e.g. ``"t_tame"``.
        training: what is known about its training: settings, data, figures; for the card.
        features_from: the network whose features the head reads, where it is not the classifier
            itself (P-TAME). Explaining then takes one pass of each.

    Raises:
        ExplainerError: the head does not fit the classifier's taps, classes or last layer.
        UnknownNameError: no such trained method.

    Example:
        >>> from ttame.explainers.trained.explainer_folder import load_explainer
        >>> explainer = load_explainer("efficientnet_lite0")
        >>> explainer(torch.zeros(1, 3, 224, 224), classes="top3")
        <Explanation by few_shot: maps 1 x 3 x 28 x 28>
    """

    head: Head = dataclasses.field(repr=False)
    method: str = "t_tame"
    training: Mapping[str, Any] | None = dataclasses.field(default=None, repr=False)
    features_from: Classifier | None = dataclasses.field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.head.check(self.seen)
        trained_card(self.method)
        self.head.to(self.classifier.device).eval()

    @property
    def card(self) -> MethodCard:
        """The facts about the method that the head was trained as."""
        return trained_card(self.method)

    @property
    def seen(self) -> Explainable:
        """What the head reads: the classifier, perhaps with the features of another network."""
        if self.features_from is None:
            return self.classifier
        explained: Any = self.classifier
        return WithFeaturesFrom(explained, self.features_from)

    @property
    def training_record(self) -> dict[str, Any]:
        """What is known about the training; empty for a fresh head."""
        return dict(self.training or {})

    def for_classifier(self, classifier: Explainable) -> Self:
        """The same head next to another classifier, read at the same layers.

        Raises:
            ExplainerError: the head does not fit it.
        """
        own = self.features_from is None
        tapped: Any = classifier.with_taps(self.classifier.taps) if own else classifier
        return dataclasses.replace(self, classifier=tapped)

    def provenance(self) -> dict[str, Any]:
        """The classifier, the head's kind and parts, its details, and where it reads."""
        other = self.features_from
        return {
            **super().provenance(),
            **self.head.provenance(),
            **({} if other is None else {"features_from": other.name}),
            "taps": [tap.to_config() for tap in self.seen.taps],
        }

    def save(self, folder: Path | str, *, overwrite: bool = False) -> None:
        """Write config.json, explainer.safetensors and a card; see ``explainer_folder``."""
        with whole_folder(folder, overwrite=overwrite) as temporary:
            self.write_files(temporary)

    @gives_everything_back
    def write_files(self, folder: Path) -> None:
        """Write the files into an existing folder; ``config.json`` comes last."""
        config = config_of(self.seen, self.head, method=self.method, training=self.training_record)
        write_explainer_files(config, self.head, folder, texts_of(self.classifier))

    @torch.no_grad()
    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        seen = self.seen
        reading = seen.read_features(images)
        self.head.to(reading.logits.device)  # The network may have been moved since.
        targets = request.linear_targets(reading.logits)
        classes = targets.single_classes().classes
        every = torch.arange(self.head.number_of_classes, device=classes.device)
        if classes.shape[1] == len(every) and bool((classes == every).all()):
            maps = self.head.maps(seen, reading, None)
        else:
            maps = self.head.maps(seen, reading, classes)
        maps = self.head.explained(targets.from_class_maps(maps), reading.places)
        return RawMaps(reading.logits, targets, maps)


@gives_everything_back
def new_attention_explainer(
    classifier: Explainable | nn.Module,
    settings: HeadSettings = AttentionHeadSettings(),  # noqa: B008 - frozen
    *,
    method: str = "t_tame",
    seed: int = 0,
    features_from: Classifier | nn.Module | None = None,
) -> AttentionExplainer:
    """An explainer with an untrained head that fits the classifier.

    Args:
        classifier: to explain.
        settings: of the head.
        method: the name in the registry.
        seed: of the initial weights.
        features_from: the network whose features the head reads, if not the classifier itself.

    Raises:
        ClassifierError: not a classifier, nor a network that timm configured.
        ExplainerError: other settings than those of a head.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> classifier = tiny_classifier()
        >>> new_attention_explainer(classifier)(torch.zeros(2, 3, 16, 16)).maps.shape
        torch.Size([2, 1, 8, 8])
    """
    if not isinstance(settings, HeadSettings):
        raise ExplainerError(
            f"{kind_of(settings)} as settings of a head",
            allowed="ttame.head_settings(...)",
            remedy=f"ttame.head_settings({settings!r:.60})" if isinstance(settings, str) else "",
        )
    if not isinstance(classifier, AnyClassifier):
        classifier = classifier_of(classifier)
    if features_from is not None:
        classifier = with_features_from(classifier, features_from)
    plan = plan_head(classifier, settings)
    explained: Any
    explained, other = taken_apart(plan.classifier)
    return AttentionExplainer(explained, plan.make(seed), method=method, features_from=other)
