from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.tiny_networks import tiny_cnn
from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError
from ttame.explainers.trained.shared_head_inputs import SharedHeadInputs, find_inputs
from ttame.images.preprocessing import Preprocessing
from ttame.testing import tiny_classifier

WITH_PRIOR = SharedHeadInputs((8, 16), (0, 1), pooled=1, class_layer="head", class_width=16)


def test_they_are_read_back_with_the_heads_channels() -> None:
    written = WITH_PRIOR.as_json()
    assert "channels" not in written
    assert SharedHeadInputs.from_json(written, (8, 16)) == WITH_PRIOR


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"branched": ()}, "at least one, and every tap read"),
        ({"branched": (0,), "pooled": None}, "every tap read"),
        ({"branched": (0, 1, 2)}, "every tap read"),
        ({"class_layer": ""}, "allowed: both or neither"),
        ({"class_width": 0}, "allowed: both or neither"),
        ({"class_width": 10**8, "pooled": None}, "rows of up to"),
        ({"class_layer": "x" * 10_001}, "a name of up to"),
        ({"pooled": 0}, "8 channels for class weights of 16"),
    ],
)
def test_what_does_not_fit_together_is_refused(change: dict[str, Any], words: str) -> None:
    content = {**WITH_PRIOR.as_json(), **change}
    with pytest.raises(ExplainerError, match=words):
        SharedHeadInputs.from_json(content, (8, 16))


@pytest.mark.parametrize(
    "change", [{"code": "import os"}, {"pooled": "last"}, {"branched": 1}, {"class_layer": 3}]
)
def test_a_strangers_file_is_checked(change: dict[str, Any]) -> None:
    with pytest.raises(ExplainerError, match="few-shot head"):
        SharedHeadInputs.from_json({**WITH_PRIOR.as_json(), **change}, (8, 16))


def test_a_prior_is_read_where_logits_are_linear_in_pooled_features() -> None:
    cnn = tiny_cnn()
    (name, layer) = [(n, m) for n, m in cnn.network.named_modules() if isinstance(m, nn.Linear)][-1]
    reading, inputs = find_inputs(cnn, prior=True)
    assert (inputs.class_layer, inputs.class_width) == (name, layer.in_features)
    assert inputs.pooled is not None
    assert reading.taps[inputs.pooled].channels == layer.in_features
    assert [reading.taps[place] for place in inputs.branched] == list(cnn.taps)
    same, without = find_inputs(cnn, prior=False)
    assert (without.pooled, same.taps) == (None, cnn.taps)
    assert without.class_width == inputs.class_width


def test_of_a_class_token_what_tokens_add_to_it_is_one_more_tap() -> None:
    vit = tiny_classifier("vit", size=32)
    reading, inputs = find_inputs(vit, prior=True)
    assert len(reading.taps) == len(vit.taps) + 1
    assert inputs.pooled is not None and inputs.pooled not in inputs.branched
    assert str(reading.taps[inputs.pooled]).startswith("contributions:")


def test_without_a_linear_layer_there_is_nothing_to_read() -> None:
    class Norms(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU())

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            pooled: torch.Tensor = self.features(images).square().mean(dim=(2, 3)).sqrt()
            return pooled

    classifier = Classifier(Norms().eval(), preprocessing=Preprocessing.imagenet(32))
    _, inputs = find_inputs(classifier, prior=True)
    assert (inputs.pooled, inputs.class_layer, inputs.class_width) == (None, "", 0)
