"""Integrated gradients: completeness, quadrature, a slow replica, and Captum's numbers."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import assert_close
from tests.tiny_networks import TINY, tiny_cnn
from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError
from ttame.explainers.known_explainers import make_explainer
from ttame.explainers.methods.gradient.integrated_gradients import (
    IntegratedGradients,
    quadrature_rule,
)
from ttame.images.preprocessing import Preprocessing

BASELINES = ["black", "mean"]


def baseline_image(classifier: Classifier, baseline: str, like: Tensor) -> Tensor:
    """Pixels in [0, 1] are (x − mean) / std when normalised; black is all zeros."""
    mean, std = (
        torch.tensor(values)[:, None, None]
        for values in (classifier.preprocessing.mean, classifier.preprocessing.std)
    )
    pixels = torch.zeros(3, 1, 1) if baseline == "black" else mean
    return ((pixels - mean) / std).expand_as(like)


def smooth_network() -> Classifier:
    """Curved everywhere, without a corner."""
    torch.manual_seed(3)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1), nn.Tanh(), nn.Conv2d(6, 8, 3, 2, 1), nn.Softplus(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    )  # fmt: skip
    return Classifier(network, preprocessing=Preprocessing.imagenet(16))


@pytest.mark.parametrize("baseline", BASELINES)
def test_maps_are_complete(baseline: Any) -> None:
    """They sum to the logit of the image minus that of the baseline."""
    classifier = smooth_network()
    images = torch.randn(2, 3, 16, 16)
    explanation = IntegratedGradients(classifier, baseline=baseline)(images, "all")
    gone = classifier.logits(baseline_image(classifier, baseline, images)).detach()
    assert_close(explanation.maps.sum(dim=(2, 3)), explanation.logits - gone, 1e-4)


def test_with_corners_more_steps_come_nearer_to_completeness() -> None:
    classifier = tiny_cnn()
    images = torch.randn(2, 3, 32, 32)
    gone = classifier.logits(baseline_image(classifier, "black", images)).detach()
    errors = []
    for steps in (2, 20, 200):
        explanation = IntegratedGradients(classifier, steps=steps)(images, "all")
        gap = explanation.maps.sum(dim=(2, 3)) - (explanation.logits - gone)
        errors.append(float(gap.abs().max()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.01 * float((explanation.logits - gone).abs().max())


@pytest.mark.parametrize("quadrature", ["gauss-legendre", "midpoint", "right"])
def test_maps_are_those_of_the_slow_sum(quadrature: Any) -> None:
    """Three points by hand; those of Gauss and Legendre are 1/2 and 1/2 ± √15/10."""
    points, weights = {
        "gauss-legendre": ((0.5 - 15**0.5 / 10, 0.5, 0.5 + 15**0.5 / 10), (5 / 18, 4 / 9, 5 / 18)),
        "midpoint": ((1 / 6, 1 / 2, 5 / 6), (1 / 3, 1 / 3, 1 / 3)),
        "right": ((1 / 3, 2 / 3, 1.0), (1 / 3, 1 / 3, 1 / 3)),
    }[quadrature]
    classifier = tiny_cnn()
    images = torch.randn(2, 3, 24, 32)
    explainer = IntegratedGradients(classifier, steps=3, quadrature=quadrature)
    maps = explainer(images, [[1, 4], [2, 0]]).maps
    black = baseline_image(classifier, "black", images[0])
    for index, k in itertools.product((0, 1), (0, 1)):
        label = [[1, 4], [2, 0]][index][k]
        total = torch.zeros(3, 24, 32)
        for point, weight in zip(points, weights, strict=True):
            x = (black + point * (images[index] - black))[None].requires_grad_()
            classifier.network.eval()(x)[0, label].backward()
            assert x.grad is not None
            total += weight * x.grad[0]
        expected = ((images[index] - black) * total).sum(dim=0)
        assert_close(maps[index, k], expected, 1e-5)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_gauss_legendre_is_exact_for_polynomials(steps: int) -> None:
    points, weights = quadrature_rule(steps, "gauss-legendre")
    for degree in range(2 * steps):
        total = sum(w * t**degree for t, w in zip(points, weights, strict=True))
        assert total == pytest.approx(1 / (degree + 1), abs=1e-12)


def test_on_a_linear_network_any_number_of_steps_is_exact() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 64, 5))
    classifier = Classifier(network, preprocessing=Preprocessing.imagenet(8), taps=["0"])
    images = torch.randn(2, 3, 8, 8)
    one, many = (IntegratedGradients(classifier, steps=n)(images, "all").maps for n in (1, 9))
    assert_close(one, many, 1e-5)


def test_a_pixel_of_the_baselines_colour_gets_nothing() -> None:
    classifier = tiny_cnn()
    images = torch.randn(1, 3, 32, 32)
    images[:, :, :16] = baseline_image(classifier, "black", images)[:, :, :16]
    maps = IntegratedGradients(classifier, steps=4)(images).maps
    assert torch.equal(maps[:, :, :16], torch.zeros(1, 1, 16, 32))
    assert (maps[:, :, 16:] != 0).any()


def test_the_memory_budget_changes_the_work_and_not_the_maps() -> None:
    classifier = tiny_cnn()
    images = torch.randn(3, 3, 32, 32)
    seen: dict[str, list[tuple[int, int]]] = {"1KiB": [], "1GiB": []}
    batches: dict[str, list[int]] = {"1KiB": [], "1GiB": []}
    maps = []
    for budget, calls in seen.items():
        explainer = make_explainer("integrated_gradients", classifier, steps=4)
        count = lambda _, args, sizes=batches[budget]: sizes.append(len(args[0]))  # noqa: E731
        handle = classifier.network.register_forward_pre_hook(count)
        explanation = explainer(
            images,
            "top2",
            memory_budget=budget,
            progress=lambda done, total, calls=calls: calls.append((done, total)),
        )
        maps.append(explanation.maps)
        handle.remove()
    assert_close(maps[0], maps[1], 1e-5)
    assert max(batches["1KiB"][2:]) == 1, "after the prediction and the measurement"
    assert seen["1KiB"] == [(done, 12) for done in range(1, 13)]
    assert len(seen["1GiB"]) < 12
    assert seen["1GiB"][-1] == (12, 12)


@pytest.mark.parametrize("network", ["cnn", "timm vit"])
def test_captum_gives_the_same_numbers(network: str) -> None:
    captum = pytest.importorskip("captum.attr")
    classifier = TINY[network]()
    images = torch.randn(2, 3, *classifier.preprocessing.input_size)
    black = baseline_image(classifier, "black", images)
    theirs = captum.IntegratedGradients(classifier.network.eval()).attribute(
        images, baselines=black, target=[2, 5], n_steps=8
    )
    ours = IntegratedGradients(classifier, steps=8)(images, [2, 5]).maps
    assert_close(ours[:, 0], theirs.detach().sum(dim=1).float(), 1e-4)


def test_wrong_options_are_errors() -> None:
    classifier = tiny_cnn()
    wrong: Any
    for wrong, said in [
        ({"steps": 0}, "0 steps.*at least 1"),
        ({"quadrature": "simpson"}, "'simpson'.*'gauss-legendre' or 'midpoint' or 'right'"),
        ({"baseline": "white"}, "'white'.*'black' or 'mean'"),
    ]:
        with pytest.raises(ExplainerError, match=said):
            IntegratedGradients(classifier, **wrong)
    assert IntegratedGradients(classifier, steps=7).options == {
        "steps": 7, "quadrature": "gauss-legendre", "baseline": "black", "libra": False,
    }  # fmt: skip
