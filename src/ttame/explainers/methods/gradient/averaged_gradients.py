"""Averages of the input gradients of many variants of each image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ttame.classifiers.classifier import Classifier
from ttame.explainers.contract.class_gradients import class_gradients
from ttame.explainers.contract.differentiation import differentiating
from ttame.explainers.contract.memory_budget import (
    Progress,
    bytes_per_image,
    in_chunks,
    items_at_once,
    most_at_once,
)


def averaged_gradients(
    classifier: Classifier,
    images: Tensor,
    classes: Tensor,
    *,
    weights: Sequence[float],
    variant: Callable[[Tensor, int], Tensor],
    memory_budget: int,
    progress: Progress | None,
) -> Tensor:
    """The weighted sum of ``∂f_c/∂x`` at variants of each image.

    Every variant takes one forward pass, and one backward pass a class. As many variants run at
    once as the memory budget allows.

    Args:
        classifier: gives the logits.
        images: (B, 3, H, W) float.
        classes: (B, K) int64.
        weights: one for each variant.
        variant: ``variant(images, n)`` makes the n-th variant of some of the images,
            (b, 3, H, W). It is asked for in order, once for each part of the batch.
        memory_budget: bytes of activations at a time.
        progress: told the finished and the total number of variants of all images.

    Returns:
        (B, K, 3, H, W) float32.
    """
    with differentiating():
        each = bytes_per_image(classifier, images, gradients=True)
    at_once = items_at_once(each, memory_budget, most_at_once(images.device))
    total = len(images) * len(weights)
    sums = torch.zeros(
        *classes.shape, *images.shape[1:], dtype=torch.float32, device=classes.device
    )
    finished = 0
    for part in in_chunks(len(images), at_once):
        some, their_classes = images[part], classes[part]
        for turn in in_chunks(len(weights), max(1, at_once // len(some))):
            numbers = range(len(weights))[turn]
            with differentiating():
                variants = torch.stack([variant(some, number) for number in numbers])
                inputs = variants.detach().flatten(0, 1).requires_grad_()
                logits = classifier.logits(inputs)
                repeated = their_classes.repeat(len(numbers), 1)
                shares = torch.tensor([weights[number] for number in numbers]).to(sums)
                for k, gradient in enumerate(class_gradients(logits, repeated, inputs)):
                    by_variant = gradient.reshape(variants.shape).float().to(sums.device)
                    sums[part, k] += torch.einsum("v,vbchw->bchw", shares, by_variant)
            finished += len(inputs)
            if progress is not None:
                progress(finished, total)
    return sums
