"""Input x gradient: a slow replica, linear networks, and Captum's numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.conftest import assert_close
from tests.tiny_networks import TINY, tiny_cnn
from ttame.classifiers.classifier import Classifier
from ttame.explainers.methods.gradient.input_x_gradient import InputXGradient
from ttame.images.preprocessing import Preprocessing


def test_maps_are_pixels_times_finite_differences() -> None:
    """A slope measured by moving one pixel, in double precision."""
    classifier = tiny_cnn()
    images = torch.randn(2, 3, 32, 40)
    maps = InputXGradient(classifier)(images, "all").maps
    assert maps.shape == (2, 7, 32, 40)
    network = classifier.network.eval().double()
    for index, label, row, column in [(0, 1, 5, 30), (1, 6, 20, 2)]:
        expected = 0.0
        for colour in range(3):
            moved = images[[index, index]].double()
            moved[0, colour, row, column] += 1e-6
            moved[1, colour, row, column] -= 1e-6
            up, down = network(moved)[:, label].tolist()
            expected += float(images[index, colour, row, column]) * (up - down) / 2e-6
        assert float(maps[index, label, row, column]) == pytest.approx(expected, rel=1e-3)


def test_on_a_linear_network_a_map_sums_to_the_logit_without_its_bias() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 64, 5))
    network[0].bias.data.zero_()  # type: ignore[operator,union-attr]
    classifier = Classifier(network, preprocessing=Preprocessing.imagenet(8), taps=["0"])
    explanation = InputXGradient(classifier)(torch.randn(2, 3, 8, 8), "all")
    bias = network[2].bias.detach()  # type: ignore[operator,union-attr]
    assert_close(explanation.maps.sum(dim=(2, 3)) + bias, explanation.logits, 1e-5)  # type: ignore[arg-type]


@pytest.mark.parametrize("network", ["cnn", "timm resnet", "timm vit", "torchvision vit"])
def test_captum_gives_the_same_numbers(network: str) -> None:
    captum = pytest.importorskip("captum.attr")
    classifier = TINY[network]()
    images = torch.randn(2, 3, *classifier.preprocessing.input_size)
    inputs = images.clone().requires_grad_()
    theirs = captum.InputXGradient(classifier.network.eval()).attribute(inputs, target=[2, 5])
    ours = InputXGradient(classifier)(images, [2, 5]).maps
    assert_close(ours[:, 0], theirs.detach().sum(dim=1), 1e-5)
