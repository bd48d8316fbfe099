"""A measured value above or below a reference."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ttame.classifiers.classifier import Classifier
from ttame.errors import ClassifierError
from ttame.explainers.known_explainers import make_explainer
from ttame.images.preprocessing import Preprocessing
from ttame.networks.value_scores import ValueAbove


def network(outputs: int = 1) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, outputs),
    )  # fmt: skip


def test_what_raises_the_value_is_relevant_for_yes() -> None:
    net, images = network(3), torch.randn(2, 3, 8, 8)
    above = ValueAbove(net, 30.0, unit=4.0, output=2, number_of_outputs=3)
    classifier = Classifier(
        above, preprocessing=Preprocessing.imagenet(8), outputs="binary", taps=["network.1"]
    )
    expected = ((net(images)[:, 2] - 30) / 4).sigmoid()
    assert torch.allclose(classifier.probabilities(images)[:, 1], expected, atol=1e-6)
    features = net[:2](images).detach().requires_grad_()
    (slopes,) = torch.autograd.grad(net[2:](features)[:, 2].sum(), features)
    evidence = (slopes.mean((2, 3), keepdim=True) * features).sum(1).detach() / 4 / 2
    no, yes = make_explainer("grad_cam", classifier)(images, "all").maps.unbind(1)
    assert torch.allclose(yes, evidence.relu(), atol=1e-6)
    assert torch.allclose(no, (-evidence).relu(), atol=1e-6)
    assert float(yes.max()) > 0 and float(no.max()) > 0
    of_pixels = make_explainer("lrp", classifier)(images, "all").maps
    assert not torch.equal(of_pixels[:, 0], of_pixels[:, 1])


def test_flat_values_and_wrong_units() -> None:
    flat = nn.Sequential(network(), nn.Flatten(0))
    assert ValueAbove(flat, 1.0)(torch.zeros(2, 3, 8, 8)).shape == (2, 1)
    with pytest.raises(ClassifierError, match="unit 0"):
        ValueAbove(network(), 1.0, unit=0)
    with pytest.raises(ClassifierError, match="output 3 of 3"):
        ValueAbove(network(3), 1.0, output=3, number_of_outputs=3)
