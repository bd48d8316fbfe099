"""SmoothGrad: a slow replica, what the noise is, and where it comes from."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import assert_close
from tests.tiny_networks import TINY, tiny_cnn
from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError
from ttame.explainers.known_explainers import make_explainer
from ttame.explainers.methods.gradient.smooth_grad import SmoothGrad
from ttame.images.preprocessing import Preprocessing


def noisy_copies(classifier: Classifier, explainer: SmoothGrad, image: Tensor) -> Tensor:
    """What the network sees, (samples, 3, H, W); image by image."""
    seen: list[Tensor] = []
    network = classifier.network
    handle = network.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    explainer(image[None], memory_budget=1)
    handle.remove()
    # The prediction and the measurement of memory see the image itself.
    return torch.cat(seen)[2:]


@pytest.mark.parametrize("signed", [False, True])
def test_maps_are_the_magnitude_of_the_mean_gradient(signed: bool) -> None:
    classifier = tiny_cnn()
    images = torch.randn(2, 3, 24, 32)
    explainer = SmoothGrad(classifier, samples=5, signed=signed)
    maps = explainer(images, [[1, 4], [2, 0]]).maps
    assert maps.shape == (2, 2, 24, 32)
    for index in (0, 1):
        copies = noisy_copies(classifier, explainer, images[index])
        assert len(copies) == 5
        for k, label in enumerate([[1, 4], [2, 0]][index]):
            total = torch.zeros(3, 24, 32)
            for copy in copies:
                x = copy[None].clone().requires_grad_()
                classifier.network.eval()(x)[0, label].backward()
                assert x.grad is not None
                total += x.grad[0] / 5
            expected = sum(colour if signed else colour.abs() for colour in total)
            assert isinstance(expected, Tensor)
            assert_close(maps[index, k], expected, 1e-4)


def test_the_noise_is_normal_with_the_named_share_of_the_images_range() -> None:
    classifier = tiny_cnn()
    image = torch.rand(3, 32, 32) * 4 - 1
    image[0, 0, 0], image[0, 0, 1] = -1, 3
    explainer = SmoothGrad(classifier, samples=20, noise=0.1)
    noise = (noisy_copies(classifier, explainer, image) - image) / (0.1 * 4)
    assert abs(float(noise.mean())) < 0.02
    assert float(noise.std()) == pytest.approx(1, abs=0.02)
    assert float((noise**4).mean()) == pytest.approx(3, abs=0.15)
    correlation = torch.corrcoef(noise.flatten(1)).fill_diagonal_(0)
    assert correlation.abs().max() < 0.1, "no two samples share their noise"


def test_seeds_differ_also_where_they_are_neighbours() -> None:
    classifier = tiny_cnn()
    image = torch.randn(3, 32, 32)
    copies = [
        noisy_copies(classifier, SmoothGrad(classifier, samples=4, seed=seed), image)
        for seed in (0, 1)
    ]
    distances = torch.cdist(copies[0].flatten(1), copies[1].flatten(1))
    assert distances.min() > 1
    again = SmoothGrad(classifier, samples=4, seed=1)
    assert torch.equal(noisy_copies(classifier, again, image), copies[1])


def test_the_global_generator_is_left_alone() -> None:
    explainer = SmoothGrad(tiny_cnn(), samples=2)
    images = torch.randn(1, 3, 32, 32)
    before = torch.get_rng_state()
    explainer(images)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_image_without_range_has_no_noise_and_gives_the_gradient() -> None:
    classifier = tiny_cnn()
    ones = torch.ones(2, 3, 32, 32)
    maps = SmoothGrad(classifier, samples=3, noise=0.5, signed=True)(ones, "all").maps
    # Times one, the gradient is itself.
    assert_close(maps, make_explainer("input_x_gradient", classifier)(ones, "all").maps, 1e-5)


def test_on_a_linear_network_noise_changes_nothing() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 64, 5))
    classifier = Classifier(network, preprocessing=Preprocessing.imagenet(8), taps=["0"])
    images = torch.randn(2, 3, 8, 8)
    little, much = (SmoothGrad(classifier, samples=3, noise=n)(images).maps for n in (0.0, 0.5))
    assert_close(little, much, 1e-5)


def test_the_memory_budget_does_not_change_the_maps() -> None:
    """In double precision: rounding decides which side of a corner a rectifier is on."""
    classifier = TINY["timm resnet"]()
    classifier.network.double()
    images = torch.randn(3, 3, 32, 32)
    maps = [
        make_explainer("smooth_grad", classifier, samples=5)(images, memory_budget=budget).maps
        for budget in ("1KiB", "40MiB", "4GiB")
    ]
    assert_close(maps[0], maps[1], 1e-6)
    assert_close(maps[0], maps[2], 1e-6)


def test_wrong_options_are_errors() -> None:
    wrong: Any
    for wrong, said in [({"samples": 0}, "0 samples"), ({"noise": -0.1}, "noise -0.1")]:
        with pytest.raises(ExplainerError, match=said):
            SmoothGrad(tiny_cnn(), **wrong)
