"""Networks whose weights have no values say so in one line, whatever is asked of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.classifiers.small_networks import small_cnn
from ttame.classifiers.classifier import Classifier
from ttame.errors import ClassifierError
from ttame.explainers.known_explainers import EXPLAINERS, make_explainer, methods_for
from ttame.images.preprocessing import Preprocessing

PREPROCESSING = Preprocessing.imagenet(32)


def test_a_network_on_the_meta_device_is_traced_and_every_method_says_the_same() -> None:
    classifier = Classifier(small_cnn().to("meta"), preprocessing=PREPROCESSING)
    assert classifier.taps
    for name in EXPLAINERS:
        with pytest.raises(ClassifierError, match="on the meta device: its weights have no") as one:
            make_explainer(name, classifier)
        assert "\n" not in str(one.value)
    with pytest.raises(ClassifierError, match="on the meta device"):
        classifier.logits(torch.zeros(1, 3, 32, 32))
    with pytest.raises(ClassifierError, match="on the meta device"):
        methods_for(classifier)


def test_lazy_layers_are_named_and_the_remedy_helps() -> None:
    network = nn.Sequential(
        nn.LazyConv2d(8, 3, 2, 1), nn.ReLU(), nn.LazyConv2d(8, 3, 1, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    ).eval()  # fmt: skip
    with pytest.raises(ClassifierError, match=r"lazy layers.*network\(images\) once"):
        Classifier(network, preprocessing=PREPROCESSING)
    network(torch.zeros(1, 3, 32, 32))
    assert Classifier(network, preprocessing=PREPROCESSING).number_of_classes == 4
