"""Half precision, autocast, channels last and compiled networks give a float32 network's maps."""

from __future__ import annotations

import copy
import functools

import pytest
import torch
from torch import Tensor

from scripts.docs.precision_situations import PRECISIONS, tolerance
from scripts.docs.situations import Situation
from tests.explainers.test_every_explainer import METHODS
from tests.scripts.docs.test_situations import PREPROCESSING, images, maps
from ttame.classifiers.classifier import Classifier
from ttame.explainers.trained.trained_cards import TRAINED_CARDS


@functools.cache
def maps_of_twin(situation: Situation) -> dict[str, Tensor]:
    classifier = Classifier(situation.twin(), preprocessing=PREPROCESSING)
    return {method: maps_by(method, classifier) for method in situation.methods}


def maps_by(method: str, classifier: Classifier) -> Tensor:
    if method in TRAINED_CARDS:  # an untrained head, whose weights are the same every time
        return METHODS[method](classifier)(images(), 1).maps
    return maps(method, classifier)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("situation", PRECISIONS, ids=lambda each: each.title)
def test_maps_are_those_of_a_float32_network(situation: Situation) -> None:
    network = situation.make()
    weights = copy.deepcopy({name: each.dtype for name, each in network.state_dict().items()})
    with situation.around():
        classifier = Classifier(network, preprocessing=PREPROCESSING)
        found = {method: maps_by(method, classifier) for method in situation.methods}
    for method, expected in maps_of_twin(situation).items():
        largest = float(expected.abs().max())
        assert found[method].dtype == torch.float32
        assert largest > 0
        difference = float((found[method] - expected).abs().max()) / largest
        assert difference <= tolerance(situation, method), (method, difference)
    assert {name: each.dtype for name, each in network.state_dict().items()} == weights
