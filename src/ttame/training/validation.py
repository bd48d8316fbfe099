"""Judging a head on held-out images, masked by its own maps."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ttame.classifiers.any_classifier import Explainable
from ttame.classifiers.classifier import Classifier
from ttame.datasets.prepared_images import PreparedBatch
from ttame.explainers.trained.head import Head
from ttame.images.pixel_masking import mask_images
from ttame.images.saliency_maps import to_unit_range
from ttame.metrics.average_drop import drop_of, increase_of, published_masks
from ttame.training.batch_loss import BatchPlace, batch_loss
from ttame.training.masked_pass import mixed_with_ground
from ttame.training.objective import MaskedTokens
from ttame.training.training_material import PreparedInputs, loader_of
from ttame.training.training_settings import TrainingSettings


@dataclasses.dataclass(frozen=True)
class BatchFigures:
    """The figures of one held-out batch.

    Attributes:
        number: the number of the batch within the held-out images.
        images: how many it has.
        figures: see :func:`validate`, averaged over the images.
        skipped: unreadable images that were met, name to reason.
    """

    number: int
    images: int
    figures: Mapping[str, float]
    skipped: Mapping[str, str]


@torch.no_grad()
def measure_batches(
    classifier: Explainable,
    head: Head,
    held_out: PreparedInputs,
    settings: TrainingSettings,
    *,
    process: int = 0,
    processes: int = 1,
) -> list[BatchFigures]:
    """Compute the loss parts, Average Drop and Increase in Confidence on held-out images.

    The published code validates the *unmasked* images, so its figures do not depend on the head.
    Here everything is computed on masked ones: the loss as in training, AD and IC by the T-TAME
    test protocol (min–max of the map that explanations hold, removed pixels black, 100 % kept).
    Of texts, removed words are what training makes of them.

    Returns:
        Means over the images of a batch, of this process's share of the batches (every
        so-many-th one): ``loss`` and its weighted parts, ``average_drop`` and
        ``increase_in_confidence`` in percent, and ``mean_map_value`` in [0, 1], without which the
        two could be bought by hiding nothing. As in training, smoothness grows with the batch,
        and the last batch may be smaller than the others.
    """
    size = settings.run.batch_size // settings.run.gradient_accumulation
    positions = [
        list(range(first, min(first + size, len(held_out))))
        for first in range(0, len(held_out), size)
    ]
    numbers = range(len(positions))[process::processes]
    batches = [positions[number] for number in numbers]
    loader = loader_of(held_out, batches, settings.run.workers)
    was_training = head.training
    head.eval()
    try:
        return [
            BatchFigures(
                number=number,
                images=len(batch.images),
                figures=_figures(classifier, head, batch, settings, number),
                skipped=dict(batch.skipped),
            )
            for number, batch in zip(numbers, loader, strict=True)
        ]
    finally:
        head.train(was_training)


def mean_figures(measured: Sequence[BatchFigures]) -> dict[str, float]:
    """The figures of all batches, of whichever processes, averaged over the images."""
    in_order = sorted(measured, key=lambda batch: batch.number)
    images = sum(batch.images for batch in in_order)
    return {
        name: sum(batch.figures[name] * batch.images for batch in in_order) / images
        for name in in_order[0].figures
    }


def _figures(
    classifier: Explainable,
    head: Head,
    batch: PreparedBatch,
    settings: TrainingSettings,
    number: int,
) -> dict[str, float]:
    """The figures of one batch, averaged over its images.

    What the loss draws at random is decided by the batch's number, so epochs can be compared.
    """
    images = batch.images.to(classifier.device)
    place = BatchPlace(torch.Generator().manual_seed(number))
    loss = batch_loss(classifier, head, images, settings.objective.in_validation(), place)
    masks, masked = _masked(
        classifier, images, head.explained(loss.maps, loss.reading.places), settings
    )
    rows = loss.labels[:, None]
    before = classifier.outputs.probabilities(loss.reading.logits).gather(1, rows)
    after = classifier.probabilities(masked).gather(1, rows)
    return {
        **loss.parts.as_floats(),
        "average_drop": float(drop_of(before, after).mean()),
        "increase_in_confidence": float(increase_of(before, after).mean()),
        "mean_map_value": float(masks.mean()),
    }


def _masked(
    classifier: Explainable, images: Tensor, maps: Tensor, settings: TrainingSettings
) -> tuple[Tensor, Tensor]:
    """The values of all masks, and what they leave of the images, or of the words of texts."""
    places, masked = classifier.places(images), settings.objective.masked
    if places is None:
        assert isinstance(classifier, Classifier)
        masks = published_masks(maps, (int(images.shape[2]), int(images.shape[3])))
        return masks, mask_images(images, masks, classifier.preprocessing, "raw")
    assert isinstance(masked, MaskedTokens)
    masks = torch.ones_like(maps)
    for mask, values, inside in zip(masks, maps, places, strict=True):
        mask[inside] = to_unit_range(values[inside][None, None, None]).flatten()
    return masks[places], mixed_with_ground(classifier, images, masks, masked.ground)
