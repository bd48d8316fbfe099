"""What a batch costs: the classifier looks, the head masks, the classifier looks again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ttame.classifiers.any_classifier import Explainable
from ttame.classifiers.feature_reading import FeatureReading
from ttame.explainers.trained.head import Head
from ttame.images.moved_images import Move, moved
from ttame.training.loss_parts import LossParts
from ttame.training.masked_pass import masked_logits, scores_on_one_ground
from ttame.training.objective import Objective, ObjectiveBatch


@dataclasses.dataclass(frozen=True, eq=False)
class BatchLoss:
    """The loss of a batch and what it was computed from.

    Attributes:
        parts: the parts of the loss.
        reading: the reading of the whole images.
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
    classifier: Explainable,
    head: Head,
    images: Tensor,
    objective: Objective,
    place: BatchPlace,
) -> BatchLoss:
    """Mask the images with the head's maps and see what the classifier still recognises.

    Args:
        classifier: frozen.
        head: in whichever mode it is to be judged.
        images: (B, 3, H, W), normalised, on the classifier's device; of texts (B, C, 1, T).
        objective: which loss.
        place: the place of the batch.
    """
    with torch.no_grad():
        reading = classifier.read_features(images)
    labels = reading.logits.argmax(dim=1)

    # Their own: how far the other one is depends on how many images this process has.
    of_grounds = torch.Generator().manual_seed(place.generator.initial_seed() + 1)

    def maps(classes: Tensor) -> Tensor:
        return head.maps(classifier, reading, classes, wrapped=place.wrapped_head).float()

    def maps_of_moved(classes: Tensor, move: Move) -> Tensor:
        with torch.no_grad():
            of_moved = classifier.read_features(moved(images, move))
        return head.maps(classifier, of_moved, classes, wrapped=place.wrapped_head).float()

    def masked_scores(masks: Tensor) -> Tensor:
        scores = masked_logits(
            classifier, images, masks, objective.masked, of_grounds, place.first_image
        )
        return scores.float()

    def one_ground() -> Callable[[Tensor], Tensor]:
        own = torch.Generator().manual_seed(place.generator.initial_seed() + 5)
        return scores_on_one_ground(classifier, images, objective.masked, own, place.first_image)

    batch = ObjectiveBatch(
        classifier=classifier,
        scores=reading.logits,
        labels=labels,
        maps=maps,
        masked_scores=masked_scores,
        labels_of_all=lambda: place.gather_labels(labels),
        one_ground=one_ground,
        first_image=place.first_image,
        generator=place.generator,
        places=classifier.places(images),
        maps_of_moved=maps_of_moved if classifier.is_plane else None,
        image_size=(int(images.shape[2]), int(images.shape[3])),
        shown=head.shown,
    )
    parts, own = objective.loss(batch)
    return BatchLoss(parts, reading, labels, own)
