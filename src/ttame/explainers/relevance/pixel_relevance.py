"""How relevant each pixel is for a target."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor

from ttame.classifiers.any_classifier import Explainable
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.explained_targets import LinearTargets
from ttame.classifiers.linear_end import scoring_in_the_last_layer
from ttame.explainers.passes.block_attention import gradients_by_target
from ttame.explainers.relevance.attention_relevance import Propagated, half_precision_scale
from ttame.explainers.relevance.propagation import propagating
from ttame.explainers.relevance.recording import widened
from ttame.explainers.relevance.rule_table import RuleTable


def pixel_relevance(
    classifier: Explainable,
    table: RuleTable,
    images: Tensor,
    choose: Callable[[Tensor], LinearTargets],
    start: Literal["one", "logit"] = "one",
) -> Propagated[Tensor]:
    """Propagate the relevance of targets to the pixels.

    Args:
        classifier: the network.
        table: the rules.
        images: (B, 3, H, W).
        choose: says the targets of the (B, C) scores; called once.
        start: what relevance, or the gradient, is at the score of a class: 1, or the score itself;
            times its weight, for a weighting.

    Returns:
        For each target an image, (B, 3, H, W) relevances, or modified gradients if the table
        carries those.
    """
    leaf = images.detach().clone().requires_grad_()
    with torch.enable_grad():
        with (
            # Before the table: its hooks must see the layer still running when it gives scores.
            scoring_in_the_last_layer(classifier),
            propagating(
                table,
                "relevance propagation",
                classifier.name,
                images=len(images),
                network=classifier.network,
            ),
        ):
            scores = classifier.logits(leaf)
        targets = choose(scores.detach())
        scale = half_precision_scale(scores)
        begins = scores * scores.detach() if start == "logit" else scores
        values = targets.of(begins) * scale

    def by_target() -> Iterator[Tensor]:
        for (relevance,) in gradients_by_target(values, [leaf]):
            yield widened(relevance) / scale

    return Propagated(scores.detach(), targets, by_target())


def lowest_of_image(values: Tensor) -> Tensor:
    """The smallest value of each image, (B, 1, …): l of the z^B rule, as published."""
    return values.amin(dim=tuple(range(1, values.ndim)), keepdim=True)


def highest_of_image(values: Tensor) -> Tensor:
    """The largest value of each image, (B, 1, …): h of the z^B rule, as published."""
    return values.amax(dim=tuple(range(1, values.ndim)), keepdim=True)


def black_of(classifier: Classifier) -> Callable[[Tensor], Tensor]:
    """What black becomes by a classifier's preprocessing, by colour: the lowest valid pixel."""
    return classifier.preprocessing.black


def white_of(classifier: Classifier) -> Callable[[Tensor], Tensor]:
    """What white becomes by a classifier's preprocessing, by colour: the highest valid pixel."""
    preprocessing = classifier.preprocessing

    def white(values: Tensor) -> Tensor:
        return preprocessing.normalise(torch.ones_like(preprocessing.black(values)))

    return white
