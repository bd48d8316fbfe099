"""How relevant each pixel is for a class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from ttame.classifiers.classifier import Classifier
from ttame.classifiers.function_replacement import Operation, Replacement
from ttame.classifiers.linear_end import scoring_in_the_last_layer
from ttame.explainers.explainer import ChooseClasses
from ttame.explainers.posthoc.block_attention import gradients_by_class
from ttame.explainers.relevance.attention_relevance import Propagated, half_precision_scale
from ttame.explainers.relevance.propagation import propagating, widened
from ttame.explainers.relevance.sharing_rules import Limits


def pixel_relevance(
    classifier: Classifier,
    rules: Mapping[Operation, Replacement],
    images: Tensor,
    choose_classes: ChooseClasses,
) -> Propagated[Tensor]:
    """Propagate the relevance of classes to the pixels.

    Args:
        classifier: the network.
        rules: what runs instead of the network's operations.
        images: (B, 3, H, W).
        choose_classes: called once.

    Returns:
        For each class an image, (B, 3, H, W) relevances.
    """
    leaf = images.detach().clone().requires_grad_()
    with torch.enable_grad():
        with (
            propagating(rules, "relevance propagation", classifier.name),
            scoring_in_the_last_layer(classifier),
        ):
            logits = classifier.logits(leaf)
        classes = choose_classes(logits.detach())
        scale = half_precision_scale(logits)
        scores = logits.gather(1, classes) * scale

    def by_class() -> Iterator[Tensor]:
        for (relevance,) in gradients_by_class(scores, [leaf]):
            yield widened(relevance) / scale

    return Propagated(logits.detach(), classes, by_class())


def image_limits(values: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest and largest value of each image, (B, 1, …)."""
    dimensions = tuple(range(1, values.ndim))
    return values.amin(dim=dimensions, keepdim=True), values.amax(dim=dimensions, keepdim=True)


def valid_limits(classifier: Classifier) -> Limits:
    """What black and white become by a classifier's preprocessing, by colour."""
    preprocessing = classifier.preprocessing

    def limits(values: Tensor) -> tuple[Tensor, Tensor]:
        black = preprocessing.black(values)
        return black, preprocessing.normalise(torch.ones_like(black))

    return limits
