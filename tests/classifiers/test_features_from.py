"""Two networks that see the same pixels: scores of one, features of the other."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.conftest import assert_close
from tests.tiny_networks import TINY, tiny_cnn
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.features_from import as_seen_by, taken_apart, with_features_from
from ttame.errors import ClassifierError
from ttame.images.preprocessing import Preprocessing

OURS = Preprocessing((24, 32), (24, 32))
THEIRS = Preprocessing((24, 32), (24, 32), mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.5))


def photo() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_the_other_network_gets_what_it_would_prepare_itself() -> None:
    seen = as_seen_by(THEIRS, OURS.prepare(photo())[None], OURS)
    assert_close(seen[0], THEIRS.prepare(photo()), 1e-5)


def test_another_size_shows_the_same_picture() -> None:
    """Each of its pixels is a weighted mean of ours near the same place of the photo."""
    smaller = dataclasses.replace(THEIRS, input_size=(12, 16), resize=(12, 16))
    ramp = torch.linspace(0, 1, 32).expand(1, 3, 24, 32)
    seen = smaller.denormalise(as_seen_by(smaller, OURS.normalise(ramp), OURS))
    assert seen.shape == (1, 3, 12, 16)
    pairs = ramp[..., ::2, :].unflatten(-1, (16, 2)).mean(-1)
    assert_close(seen[..., 1:-1], pairs[..., 1:-1], 1e-4)


def test_grey_is_repeated_for_colours() -> None:
    grey = Preprocessing((4, 4), (4, 4), channels="grey", mean=(0.5,), std=(0.25,))
    plain = Preprocessing((4, 4), (4, 4), mean=(0.0,) * 3, std=(1.0,) * 3)
    seen = as_seen_by(plain, torch.full((2, 1, 4, 4), 2.0), grey)
    assert seen.shape == (2, 3, 4, 4) and seen.unique().tolist() == [1.0]


def test_scores_are_of_one_and_features_of_the_other() -> None:
    explained, other = TINY["transformers vit"](), tiny_cnn()
    both = with_features_from(explained, other)
    images = torch.randn(2, 3, 48, 64)
    reading = both.read_features(images)
    assert_close(reading.logits, explained.logits(images), 1e-5)
    theirs = other.read_features(as_seen_by(other.preprocessing, images, explained.preprocessing))
    for found, expected in zip(reading.feature_maps, theirs.feature_maps, strict=True):
        assert_close(found, expected, 1e-6)
    assert both.taps == other.taps and both.family == explained.family
    assert both.number_of_classes == explained.number_of_classes
    assert taken_apart(both.with_taps(["6"]))[0] is explained
    assert [str(tap) for tap in both.with_taps(["6"]).taps] == ["6"]


def test_both_networks_are_left_as_found() -> None:
    explained, other = TINY["timm vit"](), tiny_cnn()
    for network in (explained.network, other.network):
        network.train().requires_grad_(True)
    both = with_features_from(explained, other)
    with both.frozen():
        assert not explained.network.training and not other.network.training
        both.read_features(torch.randn(1, 3, 64, 64))
    for network in (explained.network, other.network):
        assert all(module.training for module in network.modules())
        assert all(parameter.requires_grad for parameter in network.parameters())
        assert not any(module._forward_hooks for module in network.modules())


def test_other_channels_are_refused() -> None:
    network = nn.Sequential(
        *(nn.Conv2d(5, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)),
    )
    bands = Classifier(network, preprocessing=Preprocessing((16, 16), (16, 16), channels=5))
    with pytest.raises(ClassifierError, match="channels are 5.*channels are 'rgb'.*same channels"):
        with_features_from(tiny_cnn(), bands)
    with pytest.raises(ClassifierError, match="channels are 'rgb'.*channels are 5"):
        with_features_from(bands, tiny_cnn())


def test_a_network_of_timm_and_nothing_else_is_taken_for_a_classifier() -> None:
    with pytest.raises(ClassifierError, match="as classifier"):
        with_features_from(tiny_cnn(), nn.Linear(2, 2))
