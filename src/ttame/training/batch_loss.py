"""What a batch costs: the classifier looks, the head masks, the classifier looks again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ttame.classifiers.classifier import Classifier, FeatureReading
from ttame.explainers.trained.attention_explainer import head_maps
from ttame.explainers.trained.head_plan import TrainedHead
from ttame.training.attention_objective import objective, own_maps, selected_classes
from ttame.training.kept_share_objective import kept_share_loss, random_masks
from ttame.training.loss_parts import LossParts
from ttame.training.masked_pass import masked_logits
from ttame.training.training_settings import TrainingSettings


@dataclasses.dataclass(frozen=True, eq=False)
class BatchLoss:
    """The loss of a batch and what it was computed from.

    Attributes:
        parts: of the loss.
        reading: of the whole images.
        labels: (B,) int64, the classifier's top-1 classes.
        maps: (B, 1, h, w), the maps of these classes before any activation.
    """

    parts: LossParts
    reading: FeatureReading
    labels: Tensor
    maps: Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class BatchPlace:
    """Where a batch stands in a training of several steps and processes.

    Attributes:
        generator: on the CPU; draws what a loss draws at random, alike in all processes.
        gather_labels: gives the labels of the whole batch, over all processes.
        first_image: where this process's images begin in the whole batch.
        wrapped_head: the head as it is called in training; ``None`` outside of it.
    """

    generator: torch.Generator
    gather_labels: Callable[[Tensor], Tensor] = lambda labels: labels
    first_image: int = 0
    wrapped_head: nn.Module | None = None


def batch_loss(
    classifier: Classifier,
    head: TrainedHead,
    images: Tensor,
    settings: TrainingSettings,
    place: BatchPlace,
) -> BatchLoss:
    """Mask the images with the head's maps and see what the classifier still recognises.

    Args:
        classifier: frozen.
        head: in whichever mode it is to be judged.
        images: (B, 3, H, W), normalised, on the classifier's device.
        settings: which loss.
        place: of the batch.
    """
    with torch.no_grad():
        reading = classifier.read_features(images)
    labels = reading.logits.argmax(dim=1)
    if settings.objective == "kept-share":
        return _kept_share(classifier, head, images, settings, place, reading, labels)
    classes = selected_classes(reading.logits, place.gather_labels(labels), settings.map_selection)
    maps = head_maps(head, classifier, reading, classes, wrapped=place.wrapped_head).float()
    own = own_maps(maps, settings.map_selection, place.first_image)
    logits = masked_logits(classifier, images, own.sigmoid(), settings).float()
    log_probabilities = classifier.outputs.log_probabilities(logits)
    parts = objective(maps.sigmoid(), log_probabilities, labels, settings)
    return BatchLoss(parts, reading, labels, own)


def _kept_share(
    classifier: Classifier,
    head: TrainedHead,
    images: Tensor,
    settings: TrainingSettings,
    place: BatchPlace,
    reading: FeatureReading,
    labels: Tensor,
) -> BatchLoss:
    rows = labels[:, None]
    maps = head_maps(head, classifier, reading, rows, wrapped=place.wrapped_head).float()
    masks = random_masks(maps, place.generator, place.first_image)
    logits = masked_logits(classifier, images, masks, settings).float()
    before, after = (
        classifier.outputs.probabilities(of).gather(1, rows)[:, 0]
        for of in (reading.logits, logits)
    )
    return BatchLoss(kept_share_loss(before, after), reading, labels, maps)
