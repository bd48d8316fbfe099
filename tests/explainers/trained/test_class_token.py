from __future__ import annotations

import pytest
import torch

from tests.tiny_networks import tiny_cnn
from ttame.classifiers.feature_reading import FeatureReading
from ttame.errors import ExplainerError
from ttame.explainers.trained.class_token import (
    gate_with_class_token,
    gated_features,
    refuse_without_class_token,
)
from ttame.testing import tiny_classifier


def test_every_channel_of_a_place_is_multiplied_by_its_own_number() -> None:
    features, token = torch.randn(2, 3, 2, 4), torch.randn(2, 3)
    gated = gate_with_class_token(features, token)
    for image in range(2):
        for channel in range(3):
            expected = features[image, channel] * token[image, channel]
            assert gated[image, channel].equal(expected)


def test_each_layer_has_its_token() -> None:
    vit = tiny_classifier("vit", size=32)
    refuse_without_class_token(vit)
    reading = vit.read_features(torch.randn(2, 3, 32, 32))
    first, second = gated_features(reading)
    assert first.shape == second.shape == (2, 24, 2, 2)
    token = reading.class_tokens[1]
    assert token is not None
    assert second[1, :, 0, 1].allclose(reading.feature_maps[1][1, :, 0, 1] * token[1])
    half = FeatureReading(
        reading.logits,
        tuple(features.half() for features in reading.feature_maps),
        tuple(token.half() for token in reading.class_tokens if token is not None),
        reading.layer_outputs,
    )
    assert {gated.dtype for gated in gated_features(half)} == {torch.float32}


def test_without_a_token_it_is_refused() -> None:
    cnn = tiny_cnn()
    with pytest.raises(ExplainerError, match="whose taps have no class token"):
        refuse_without_class_token(cnn)
    with pytest.raises(ExplainerError, match="for a network without a class token"):
        gated_features(cnn.read_features(torch.zeros(1, 3, 32, 32)))
