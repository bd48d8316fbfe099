"""One stage more, where there is one."""

from __future__ import annotations

import pytest
from torch import nn

from tests.tiny_networks import TINY, tiny_cnn, tiny_timm
from ttame.classifiers.classifier import Classifier
from ttame.features.finer_stage import with_finer_stage
from ttame.images.preprocessing import Preprocessing
from ttame.networks.layer_outputs import uncompiled


def layers(classifier: Classifier) -> list[str]:
    network = uncompiled(classifier.network)
    taps = with_finer_stage(network, classifier.trace, classifier.tap_choice)
    return [str(tap) for tap in taps]


def test_a_resnet_is_read_at_all_four_stages() -> None:
    resnet = tiny_timm("resnet10t", 64, channels=(8, 12, 16, 24))
    assert [str(tap) for tap in resnet.taps] == ["layer2", "layer3", "layer4"]
    assert layers(resnet) == ["layer1", "layer2", "layer3", "layer4"]


def test_the_last_layer_of_the_finer_grid_is_read() -> None:
    """Two convolutions at half the size: the second, not the first."""
    blocks = [
        *(nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 9, 3, 2, 1)),
        *(nn.Conv2d(9, 10, 3, 2, 1), nn.Conv2d(10, 11, 3, 2, 1)),
    ]
    network = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(11, 5))
    classifier = Classifier(network, preprocessing=Preprocessing.imagenet(32))
    assert [tap.grid for tap in classifier.taps] == [(8, 8), (4, 4), (2, 2)]
    assert layers(classifier) == ["1", "2", "3", "4"]


@pytest.mark.parametrize("kind", ["cnn", "timm vit"])
def test_where_no_finer_grid_is_left_nothing_changes(kind: str) -> None:
    classifier = TINY[kind]()
    assert layers(classifier) == [str(tap) for tap in classifier.taps]


def test_taps_that_somebody_named_stay_as_they_are() -> None:
    resnet = tiny_timm("resnet10t", 64, channels=(8, 12, 16, 24))
    assert layers(resnet.with_taps(["layer4"])) == ["layer4"]
    assert layers(tiny_cnn().with_taps(["6"])) == ["6"]
