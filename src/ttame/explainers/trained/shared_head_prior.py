"""The channels of a few-shot head's prior: the classifier's own evidence, in several forms."""

from __future__ import annotations

import torch
from torch import Tensor

from ttame.classifiers.class_contrast import against_rivals
from ttame.explainers.trained.attention_head import mix_channels
from ttame.images.map_details import blurred, with_details


def prior_channels(
    evidence: Tensor,
    classes: Tensor,
    class_weights: Tensor,
    logits: Tensor | None = None,
    blur: float = 0.0,
) -> Tensor:
    """The evidence for each class, sharp and broad, and the same in contrast to other classes.

    Args:
        evidence: (B, D, h, w), what places give to the last linear layer.
        classes: (K,) or (B, K) int64.
        class_weights: (C, D), the rows of that layer.
        logits: (B, C), for the contrast; ``None`` for a prior without.
        blur: the standard deviation of the blur, in places; 0 for a seventh of the shorter side.

    Returns:
        (B, K, 2, h, w), or 4 channels with a contrast.
    """
    maps = mix_channels(evidence, class_weights[classes])
    kinds = [maps]
    if logits is not None:

        def evidence_for(rows: Tensor) -> Tensor:
            return mix_channels(evidence, rows)

        kinds.append(against_rivals(maps, evidence_for, class_weights, logits, classes))
    channels = []
    for kind in kinds:
        channels += [kind, blurred(kind, blur) if blur else with_details(kind, 0)]
    return torch.stack(channels, dim=2)
