"""What methods share that find a mask for each image and target by gradient descent."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import torch
from torch import Tensor

from ttame.classifiers.classifier import Classifier
from ttame.classifiers.explained_targets import ExplainedTargets
from ttame.explainers.contract.differentiation import require_graph
from ttame.explainers.contract.memory_budget import (
    bytes_per_image,
    in_chunks,
    items_at_once,
    most_at_once,
)
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.contract.target_scores import ScoreKind, target_scores
from ttame.images.local_blur import blur_levels, blurred_by_masks
from ttame.images.saliency_maps import resize_maps

PUBLISHED_SIDE = 224
"""Lengths in pixels were published for images of this size; others scale with the shorter side."""


@dataclasses.dataclass(frozen=True, eq=False)
class MaskedViews:
    """Images that a mask shows sharp or blurred, and what the network makes of them.

    Attributes:
        classifier: the network.
        levels: (L, n, C, H, W), the images with ever more blur.
        targets: one of each image.
        score: what is read off the network's scores.
        told: to be called after every step.
    """

    classifier: Classifier
    levels: Tensor
    targets: ExplainedTargets
    score: ScoreKind
    told: Callable[[], None]

    def seen(self, masks: Tensor) -> Tensor:
        """The images behind masks (n, 1, h, w) in [0, 1], which are resized (bilinear)."""
        size = (int(self.levels.shape[-2]), int(self.levels.shape[-1]))
        return blurred_by_masks(self.levels, resize_maps(masks, size))

    def values(self, images: Tensor) -> Tensor:
        """The targets' values (n,) for images (n, C, H, W)."""
        scores = self.classifier.logits(images)
        if images.requires_grad:
            require_graph(scores)
        return target_scores(scores, self.targets, self.score, self.classifier.outputs)[:, 0]

    def grid(self, cell: int) -> tuple[int, int, int]:
        """How many masks there are, with the rows and columns of cells of so many pixels."""
        rows, columns = self.levels.shape[-2:]
        return self.levels.shape[1], math.ceil(rows / cell), math.ceil(columns / cell)


def optimised_maps(
    classifier: Classifier,
    images: Tensor,
    request: Request,
    find: Callable[[MaskedViews], Tensor],
    *,
    steps: int,
    blur: float,
    score: ScoreKind,
) -> RawMaps:
    """Find a map for each image and target; each depends on its own image and target alone.

    Args:
        classifier: the network.
        images: (B, C, H, W), normalised.
        request: of the call.
        find: makes maps (n, h, w) of some images with one target each, and tells of each step.
        steps: forward and backward passes that it takes.
        blur: the standard deviation of the largest blur, in pixels of an image of 224.
        score: what is read off the network's scores.
    """
    with torch.no_grad():
        logits = classifier.logits(images)
    targets = request.targets(logits)
    images = images.detach().to(targets.device)
    count, wanted = targets.shape
    item = bytes_per_image(classifier, images, gradients=True)
    at_once = items_at_once(item, request.memory_budget, most_at_once(targets.device))
    done, total = 0, count * wanted * steps
    rows = []
    for part in in_chunks(count, at_once):
        sigma = blur * min(images.shape[-2:]) / PUBLISHED_SIDE
        levels = blur_levels(images[part].to(classifier.dtype), sigma)

        def told(steps_done: int = levels.shape[1]) -> None:
            nonlocal done
            done += steps_done
            if request.progress is not None:
                request.progress(done, total)

        of_images = targets[part]
        columns = [of_images.columns(slice(each, each + 1)) for each in range(wanted)]
        views = [MaskedViews(classifier, levels, column, score, told) for column in columns]
        rows.append(torch.stack([find(view) for view in views], dim=1))
    return RawMaps(logits, targets, torch.cat(rows).float())
