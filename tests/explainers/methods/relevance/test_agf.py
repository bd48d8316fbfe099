"""AGF against a slow replica with loops over places, its shift, and numbers by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import assert_close
from tests.explainers.relevance.slow_cnn_relevance import (
    as_matrix,
    inputs_of,
    small_golden_cnn,
    small_images,
    to_sign_of_mean,
    to_winners,
)
from tests.explainers.relevance.slow_vit_relevance import image_extremes
from tests.plain_vit import golden_vit
from tests.tiny_networks import TINY
from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError
from ttame.explainers.methods.relevance.agf import Agf, factorised, relevance_of_classes, to_largest
from ttame.images.preprocessing import Preprocessing


def test_replica() -> None:
    classifier, images = small_golden_cnn(), small_images()
    found = Agf(classifier)(images, [[7, 2], [0, 9]])
    for index, image in enumerate(images):
        for place, label in enumerate(found.classes[index].tolist()):
            expected = slow_map(classifier.network, image, label)
            assert_close(found.maps[index, place].double(), expected, 2e-6)


def slow_map(network: nn.Module, image: Tensor, label: int) -> Tensor:
    seen = inputs_of(network, image)
    weights = network.state_dict()
    logits = network(image[None])[0].detach()

    shares = (weights["fc.weight"] * seen["fc"]).abs()
    relevance = slow_start(logits, label) @ (shares / shares.sum(dim=1, keepdim=True))
    relevance = to_sign_of_mean(relevance, seen["pool"])
    for name, pool in [("3", "pool2"), ("2", "pool1")]:
        values = seen[f"conv{name}"]
        gradient = gradient_at(network, f"conv{name}", values, label)
        relevance = through_convolution(relevance, values, weights[f"conv{name}.weight"], gradient)
        relevance = to_winners(relevance, seen[pool])

    signs = weights["bn1.weight"].sign()
    matrix = as_matrix(signs[:, None, None, None] * weights["conv1.weight"], *image.shape[1:])
    lowest, highest = (limit.flatten() for limit in image_extremes(image))
    of_pixels = matrix * image.flatten()
    of_pixels -= matrix.clamp(min=0) * lowest + matrix.clamp(max=0) * highest
    quotient = relevance.flatten() / of_pixels.sum(dim=1)
    return (quotient @ of_pixels).reshape(image.shape).sum(dim=0)


def slow_start(logits: Tensor, label: int) -> Tensor:
    values = logits.tolist()
    width = max(abs(value - values[label]) for value in values)
    bent = [
        math.exp(values[label] * math.exp(-(((value - values[label]) / width) ** 2) / 2))
        for value in values
    ]
    return torch.tensor([value / sum(bent) for value in bent], dtype=torch.float64)


def gradient_at(network: nn.Module, name: str, values: Tensor, label: int) -> Tensor:
    """Of the class's logit, where a layer's input begins the network."""
    layers = list(network.named_children())
    first = [layer for layer, _ in layers].index(name)
    leaf = values[None].clone().requires_grad_()
    out = leaf
    for _, layer in layers[first:]:
        out = layer(out)
    (gradient,) = torch.autograd.grad(out[0, label], leaf)
    return gradient[0]


def through_convolution(
    relevance: Tensor, values: Tensor, weight: Tensor, gradient: Tensor
) -> Tensor:
    matrix = as_matrix(weight, *values.shape[1:]).abs()

    def contributions(inputs: Tensor) -> Tensor:
        shares = matrix * inputs.abs().flatten()
        total = shares.sum(dim=1)
        quotient = torch.where(total > 0, relevance.flatten() / total, torch.zeros_like(total))
        return (quotient @ shares).reshape(values.shape)

    share, uniform = contributions(values), contributions(torch.ones_like(values))
    agreement = (values * gradient).mean(dim=0).clamp(min=0)
    agreement = agreement / (agreement.max() or 1)
    of_features, of_gradients = slow_factors(values, share), slow_factors(gradient, share)
    correction = (of_features + agreement) / (1 + torch.exp(-share)) + of_gradients + uniform
    kept = share != 0
    correction[~kept] = 0
    shifted = share + correction - correction.sum() / kept.sum()
    shifted[~kept] = 0
    return shifted


def slow_factors(features: Tensor, relevance: Tensor) -> Tensor:
    """Two ridge regressions a place, each solved as two equations."""
    bent = 1 / (1 + torch.exp(-10 * features / (features.abs().max() or 1)))
    sums = relevance.sum(dim=0)
    representatives = []
    for of_group in (sums > 0, sums < 0):
        members = [bent[:, y, x] for y, x in of_group.nonzero().tolist()]
        nobody = torch.zeros(len(bent), dtype=bent.dtype)
        representatives.append(sum(members, nobody) / max(len(members), 1))
    more, less = representatives
    a, b, d = float(more @ more) + 1, float(more @ less), float(less @ less) + 1
    result = torch.zeros_like(sums)
    for y, x in torch.cartesian_prod(*map(torch.arange, sums.shape)).tolist():
        e, f = float(more @ bent[:, y, x]), float(less @ bent[:, y, x])
        first, second = (d * e - b * f) / (a * d - b * b), (a * f - b * e) / (a * d - b * b)
        result[y, x] = max(0.0, max(0.0, first) - max(0.0, second))
    return result


@pytest.mark.parametrize("network", ["cnn", "timm resnet"])
def test_corrections_shift_relevance_but_add_none(network: str) -> None:
    """It starts as probabilities, so the pixels sum to 1."""
    classifier = TINY[network]()
    classifier.network.double()
    images = torch.randn(2, 3, *classifier.preprocessing.input_size).double()
    maps = Agf(classifier)(images, "all").maps
    assert_close(maps.sum(dim=(2, 3)), torch.ones(2, 7), 1e-4)


def test_relevance_starts_as_a_softmax_around_the_class() -> None:
    """For logits 1, 3 and −1 and the first class σ = 2, and both others count 1·e^{−1/2}."""
    found = relevance_of_classes(torch.tensor([[1.0, 3.0, -1.0]]).double(), torch.tensor([0]))
    other = math.exp(math.exp(-0.5))
    expected = torch.tensor([[math.e, other, other]], dtype=torch.float64)
    assert_close(found, expected / expected.sum(), 1e-9)


def test_relevance_of_equal_logits_starts_uniform() -> None:
    for logits in (torch.zeros(1, 4), torch.full((1, 4), -3.0).half()):
        found = relevance_of_classes(logits, torch.tensor([2]))
        assert found.dtype == logits.dtype
        assert found.tolist() == [[0.25] * 4]


def test_factors_of_places() -> None:
    features, relevance = torch.randn(2, 3, 4, 5).double(), torch.randn(2, 3, 4, 5).double()
    found = factorised(features, relevance)
    expected = torch.stack(list(map(slow_factors, features, relevance)))[:, None]
    assert_close(found, expected, 1e-9)
    assert float(found.max()) > 0


def test_factors_where_all_places_are_relevant() -> None:
    """The other group has no representative, and nothing resembles it."""
    features, relevance = torch.randn(1, 3, 4, 5).double(), torch.rand(1, 3, 4, 5).double()
    found = factorised(features, relevance)
    assert_close(found[0, 0], slow_factors(features[0], relevance[0]), 1e-9)


def test_every_image_is_scaled_by_its_own_largest_magnitude() -> None:
    values = torch.zeros(3, 1, 1, 2)
    values[0, 0, 0], values[1, 0, 0] = torch.tensor([1.0, -4.0]), torch.tensor([10.0, 5.0])
    expected = [[[[0.25, -1.0]]], [[[1.0, 0.5]]], [[[0.0, 0.0]]]]
    assert to_largest(values).tolist() == expected


def test_a_network_that_is_not_convolutional_is_refused() -> None:
    with pytest.raises(ExplainerError, match="factorises the feature maps of convolutions"):
        Agf(golden_vit())


class AddsTo(nn.Module):
    """A residual sum, written in place or not."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.side, self.head, self.in_place = nn.Conv2d(8, 8, 3, 1, 1), nn.Linear(8, 4), in_place

    def forward(self, images: Tensor) -> Tensor:
        features = self.body(images)
        if self.in_place:
            features += self.side(features)
        else:
            features = features + self.side(features)
        out: Tensor = self.head(features.mean((2, 3)))
        return out


def test_a_sum_in_place_behind_a_convolution_s_input_changes_nothing() -> None:
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    plain, in_place = (
        Agf(Classifier(AddsTo(place).eval(), preprocessing=Preprocessing.imagenet(16)))(images, 1)
        for place in (False, True)
    )
    assert plain.maps.abs().max() > 0
    assert torch.equal(plain.maps, in_place.maps)
