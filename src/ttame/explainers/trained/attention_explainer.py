"""A classifier with its trained attention head."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from ttame.classifiers.classifier import Classifier, FeatureReading
from ttame.classifiers.linear_end import class_weights
from ttame.errors import ExplainerError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.method_card import MethodCard
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.trained.attention_head import gate_with_class_token
from ttame.explainers.trained.explainer_config import config_of
from ttame.explainers.trained.explainer_files import write_explainer_files
from ttame.explainers.trained.head_plan import TrainedHead, plan_head
from ttame.explainers.trained.head_settings import HeadSettings
from ttame.explainers.trained.shared_head import SharedHead
from ttame.explainers.trained.trained_cards import trained_card
from ttame.files.atomic_writing import whole_folder
from ttame.networks.giving_back import gives_everything_back
from ttame.networks.layer_outputs import uncompiled


@dataclasses.dataclass(frozen=True, eq=False)
class AttentionExplainer(Explainer):
    """Explains with one forward pass of the classifier and its trained head.

    The maps of the published heads are the head's output *before* the sigmoid, as in their test
    protocol. Those of a head whose settings say ``maps="sigmoid"`` are the mask of training;
    with ``maps="min-max"`` every map goes from 0 to 1. All three rank the grid cells alike. The
    map of a weighting is the weighted sum of the head's outputs for its classes, scaled then.

    Args:
        classifier: the network that the head was trained for.
        head: trained, or fresh from :func:`new_attention_explainer`.
        method: the name in the registry, e.g. ``"t_tame"``.
        training: what is known about its training: settings, data, figures; for the card.

    Raises:
        ExplainerError: the head does not fit the classifier's taps, classes or last layer.
        UnknownNameError: no such trained method.

    Example:
        >>> from ttame.explainers.trained.explainer_folder import load_explainer
        >>> explainer = load_explainer("efficientnet_lite0")
        >>> explainer(torch.zeros(1, 3, 224, 224), classes="top3")
        <Explanation by few_shot: maps 1 x 3 x 28 x 28>
    """

    head: TrainedHead
    method: str = "t_tame"
    training: Mapping[str, Any] | None = dataclasses.field(default=None, repr=False)

    def __post_init__(self) -> None:
        classifier, head = self.classifier, self.head
        tapped = tuple(tap.channels for tap in classifier.taps)
        if head.channels != tapped or head.number_of_classes != classifier.number_of_classes:
            raise ExplainerError(
                f"a head for channels {head.channels} and {head.number_of_classes} classes",
                allowed=f"channels {tapped} and {classifier.number_of_classes} classes, as "
                f"{classifier.name} has them",
            )
        if isinstance(head, SharedHead):
            _check_class_layer(head, classifier)
        trained_card(self.method)
        head.to(classifier.device).eval()

    @property
    def card(self) -> MethodCard:
        """The facts about the method that the head was trained as."""
        return trained_card(self.method)

    @property
    def training_record(self) -> dict[str, Any]:
        """What is known about the training; empty for a fresh head."""
        return dict(self.training or {})

    def for_classifier(self, classifier: Classifier) -> Self:
        """The same head next to another classifier, read at the same layers.

        Raises:
            ExplainerError: the head does not fit it.
        """
        return dataclasses.replace(self, classifier=classifier.with_taps(self.classifier.taps))

    def provenance(self) -> dict[str, Any]:
        """The classifier, the head's variant and parts, its details, and where it reads."""
        return {
            **super().provenance(),
            "head": self.head.settings.variant,
            "parts": list(self.head.settings.parts),
            "details": self.head.settings.details,
            "maps": self.head.settings.maps,
            "taps": [tap.to_config() for tap in self.classifier.taps],
        }

    def save(self, folder: Path | str, *, overwrite: bool = False) -> None:
        """Write config.json, explainer.safetensors and a card; see ``explainer_folder``."""
        with whole_folder(folder, overwrite=overwrite) as temporary:
            self.write_files(temporary)

    @gives_everything_back
    def write_files(self, folder: Path) -> None:
        """Write the files into an existing folder; ``config.json`` comes last."""
        config = config_of(
            self.classifier, self.head, method=self.method, training=self.training_record
        )
        write_explainer_files(config, self.head, folder)

    @torch.no_grad()
    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        reading = self.classifier.read_features(images)
        targets = request.linear_targets(reading.logits)
        classes = targets.single_classes().classes
        every = torch.arange(self.head.number_of_classes, device=classes.device)
        if classes.shape[1] == len(every) and bool((classes == every).all()):
            maps = head_maps(self.head, self.classifier, reading, None)
        else:
            maps = head_maps(self.head, self.classifier, reading, classes)
        maps = self.head.scaled(targets.from_class_maps(maps))
        return RawMaps(reading.logits, targets, maps)


def _check_class_layer(head: SharedHead, classifier: Classifier) -> None:
    """Raise ``ExplainerError`` if the classifier lacks the linear layer that the head reads."""
    name, width = head.inputs.class_layer, head.inputs.class_width
    if not name:
        return
    layer = dict(uncompiled(classifier.network).named_modules()).get(name)
    rows = class_weights(classifier, name) if isinstance(layer, nn.Linear) else None
    if rows is None or rows.shape != (head.number_of_classes, width):
        raise ExplainerError(
            f"a head for the class weights of a linear layer {name!r} of shape "
            f"{(head.number_of_classes, width)}",
            allowed=f"a classifier that has it, unlike {classifier.name}",
        )


def head_maps(
    head: TrainedHead,
    classifier: Classifier,
    reading: FeatureReading,
    classes: Tensor | None,
    *,
    wrapped: nn.Module | None = None,
) -> Tensor:
    """Run a head on what was read from its classifier.

    Args:
        head: knows what it reads.
        classifier: whose features were read; a few-shot head also looks at its class weights.
        reading: of a batch of images.
        classes: as the head takes them.
        wrapped: the head as it is called in training, where several processes share it.

    Returns:
        (B, K, h, w), before the sigmoid.
    """
    features = head_input(reading, head.settings)
    weights: dict[str, Tensor] = {}
    if isinstance(head, SharedHead) and head.inputs.class_layer:
        weights["class_weights"] = class_weights(classifier, head.inputs.class_layer).float()
    maps: Tensor = (wrapped or head)(features, classes, **weights)
    return maps


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


@gives_everything_back
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
        >>> from ttame.images.preprocessing import Preprocessing
        >>> network = nn.Sequential(
        ...     nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
        ...     nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
        >>> classifier = Classifier(network, preprocessing=Preprocessing.imagenet(16))
        >>> new_attention_explainer(classifier)(torch.zeros(2, 3, 16, 16)).maps.shape
        torch.Size([2, 1, 8, 8])
    """
    plan = plan_head(classifier, settings)
    return AttentionExplainer(plan.classifier, plan.make(seed), method=method)
