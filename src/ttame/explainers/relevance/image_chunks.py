"""Explaining a batch of images piece by piece, where its graph would not fit."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ttame.explainers.contract.explainer import ChooseClasses, Explainer, RawMaps
from ttame.explainers.contract.memory_budget import in_chunks, items_at_once, most_at_once


def explain_in_chunks(
    explainer: Explainer,
    images: Tensor,
    choose_classes: ChooseClasses,
    bytes_per_image: int,
    explain: Callable[[Tensor, ChooseClasses], RawMaps],
) -> RawMaps:
    """Explain as many images at once as the explainer's memory budget allows.

    Where they are not all, the logits of the whole batch come first, for the choice of classes.

    Args:
        explainer: its classifier, memory budget and progress.
        images: (B, 3, H, W).
        choose_classes: called once, with the logits of all images.
        bytes_per_image: that ``explain`` needs for an image of the classifier's usual size.
        explain: from images and a choice of classes to maps.
    """
    classifier = explainer.classifier
    height, width = classifier.preprocessing.input_size
    bytes_each = bytes_per_image * max(1, images.shape[-1] * images.shape[-2] // (height * width))
    size = items_at_once(bytes_each, explainer.memory_budget, most_at_once(classifier.device))
    if images.ndim != 4 or len(images) <= size:
        return explain(images, choose_classes)
    with torch.no_grad():
        logits = torch.cat(
            [classifier.logits(images[chunk]) for chunk in in_chunks(len(images), size)]
        )
    classes = choose_classes(logits)

    def chosen(chunk: slice) -> ChooseClasses:
        return lambda _logits: classes[chunk]

    maps = [
        explain(images[chunk], chosen(chunk)).maps.detach()
        for chunk in in_chunks(len(images), size, explainer.progress)
    ]
    return RawMaps(logits, classes, torch.cat(maps))
