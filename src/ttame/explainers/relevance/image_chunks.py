"""Explaining a batch of images piece by piece, where its graph would not fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from ttame.classifiers.any_classifier import Explainable
from ttame.explainers.contract.memory_budget import in_chunks, items_at_once, most_at_once
from ttame.explainers.contract.request import RawMaps, Request

TOKENS_AT_ONCE_ON_CPU = 512
"""Summed over the texts that are explained together. With more, attention no longer fits into the
caches and every operation allocates a block so large that the system has to map it, which takes
longer than the operation itself."""


def explain_in_chunks(
    classifier: Explainable,
    images: Tensor,
    request: Request,
    bytes_per_image: int,
    explain: Callable[[Tensor, Request], RawMaps],
) -> RawMaps:
    """Explain as many images at once as the memory budget allows.

    Where they are not all, the scores of the whole batch come first, for the choice of targets,
    unless each image has the targets that it would have alone.

    Args:
        classifier: the network.
        images: (B, 3, H, W).
        request: the request of the method's call.
        bytes_per_image: that ``explain`` needs for an image of the classifier's usual size.
        explain: from images and a request to maps.
    """
    height, width = classifier.trace.image_size
    times_larger = max(1, images.shape[-1] * images.shape[-2] // (height * width))
    if height == 1:
        # Texts may be ten times as long as in the dry run: attention grows with the square.
        times_larger = int(times_larger**1.5)
    bytes_each = bytes_per_image * times_larger
    most = most_at_once(classifier.device)
    if height == 1 and classifier.device.type == "cpu":
        most = max(1, min(most, TOKENS_AT_ONCE_ON_CPU // images.shape[-1]))
    size = items_at_once(bytes_each, request.memory_budget, most)
    if images.ndim != 4 or len(images) <= size:
        return explain(images, request)
    if request.row_wise:
        parts = [
            explain(images[chunk], dataclasses.replace(request, progress=None))
            for chunk in in_chunks(len(images), size, request.progress)
        ]
        scores = torch.cat([part.scores.detach() for part in parts])
        joined = torch.cat([part.maps.detach() for part in parts])
        return RawMaps(scores, request.targets(scores), joined)
    with torch.no_grad():
        scores = torch.cat(
            [classifier.logits(images[chunk]) for chunk in in_chunks(len(images), size)]
        )
    targets = request.targets(scores)
    maps = [
        explain(images[chunk], request.of_chosen(targets[chunk])).maps.detach()
        for chunk in in_chunks(len(images), size, request.progress)
    ]
    return RawMaps(scores, targets, torch.cat(maps))
