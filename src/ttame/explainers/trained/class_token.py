"""Features with, or without, the class token of their layer."""

from __future__ import annotations

from torch import Tensor

from ttame.classifiers.any_classifier import Explainable
from ttame.classifiers.feature_reading import FeatureReading
from ttame.errors import ExplainerError


def refuse_without_class_token(classifier: Explainable) -> None:
    """Refuse to multiply by a class token that does not exist.

    Raises:
        ExplainerError: a tap has none.
    """
    if not all(tap.prefix_tokens for tap in classifier.taps):
        raise ExplainerError(
            f"class_token='multiply' for {classifier.name}, whose taps have no class token",
            allowed="class_token='drop'",
        )


def gated_features(reading: FeatureReading) -> list[Tensor]:
    """The feature maps, each patch token multiplied by the class token of its layer, float32.

    Raises:
        ExplainerError: the taps have none.
    """
    gated = []
    for features, token in zip(reading.feature_maps, reading.class_tokens, strict=True):
        if token is None:
            raise ExplainerError(
                "class_token='multiply' for a network without a class token",
                allowed="class_token='drop'",
            )
        gated.append(gate_with_class_token(features.float(), token.float()))
    return gated


def gate_with_class_token(feature_map: Tensor, class_token: Tensor) -> Tensor:
    """Multiply every patch token by the class token of the same layer, channel by channel.

    Args:
        feature_map: (B, C, h, w).
        class_token: (B, C).

    Returns:
        (B, C, h, w).

    Example:
        >>> import torch
        >>> gate_with_class_token(torch.ones(1, 2, 1, 1), torch.tensor([[3.0, 5.0]])).flatten()
        tensor([3., 5.])
    """
    return feature_map * class_token[:, :, None, None]
