"""Averages of the input gradients of many variants of each image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ttame.classifiers.any_classifier import Explainable
from ttame.classifiers.explained_targets import ExplainedTargets
from ttame.explainers.contract.differentiation import differentiating
from ttame.explainers.contract.memory_budget import (
    bytes_per_image,
    in_chunks,
    items_at_once,
    most_at_once,
)
from ttame.explainers.contract.request import Request
from ttame.explainers.contract.target_gradients import target_gradients


def averaged_gradients(
    classifier: Explainable,
    images: Tensor,
    targets: ExplainedTargets,
    *,
    weights: Sequence[float],
    variant: Callable[[Tensor, int], Tensor],
    request: Request,
    scores: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """The weighted sum of ``∂f/∂x`` at variants of each image.

    Every variant takes one forward pass, and one backward pass per target. As many variants run at
    once as the memory budget allows.

    Args:
        classifier: gives the logits.
        images: (B, 3, H, W) float.
        targets: K of each image.
        weights: one for each variant.
        variant: ``variant(images, n)`` makes the n-th variant of some of the images,
            (b, 3, H, W). It is asked for in order, once for each part of the batch.
        request: its memory budget; its progress is told the finished and the total number of
            variants of all images.
        scores: from images to scores, to be differentiated; ``classifier.logits`` if not given.

    Returns:
        (B, K, 3, H, W) float32.
    """
    with differentiating():
        each = bytes_per_image(classifier, images, gradients=True, scores=scores)
    at_once = items_at_once(each, request.memory_budget, most_at_once(images.device))
    total = len(images) * len(weights)
    sums = torch.zeros(
        *targets.shape, *images.shape[1:], dtype=torch.float32, device=targets.device
    )
    finished = 0
    for part in in_chunks(len(images), at_once):
        some, theirs = images[part], targets[part]
        for turn in in_chunks(len(weights), max(1, at_once // len(some))):
            numbers = range(len(weights))[turn]
            with differentiating():
                variants = torch.stack([variant(some, number) for number in numbers])
                inputs = variants.detach().flatten(0, 1).requires_grad_()
                logits = (scores or classifier.logits)(inputs)
                repeated = theirs.repeated(len(numbers))
                shares = torch.tensor(
                    [weights[number] for number in numbers], dtype=torch.float32
                ).to(sums)
                for k, gradient in enumerate(target_gradients(logits, repeated, inputs)):
                    by_variant = gradient.reshape(variants.shape).float().to(sums.device)
                    sums[part, k] += torch.einsum("v,vbchw->bchw", shares, by_variant)
            finished += len(inputs)
            if request.progress is not None:
                request.progress(finished, total)
    return sums
