"""Full LRP against the published code's tensors, and slow replicas of a transformer and a CNN."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import Golden, assert_close
from tests.explainers.relevance.slow_cnn_relevance import (
    as_matrix,
    inputs_of,
    small_golden_cnn,
    small_images,
    to_sign_of_mean,
    to_winners,
)
from tests.explainers.relevance.slow_vit_relevance import (
    SlowRules,
    image_extremes,
    slow_relevance,
)
from tests.plain_vit import golden_vit, two_images
from tests.tiny_networks import TINY
from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError
from ttame.explainers.methods.relevance.full_lrp import FullLrp
from ttame.images.preprocessing import Preprocessing


@pytest.mark.parametrize(
    ("dtype", "prefix", "tolerance"),
    [(torch.float64, "output.f64.", 1e-5), (torch.float32, "output.", 5e-4)],
)
def test_golden(dtype: torch.dtype, prefix: str, tolerance: float) -> None:
    golden, classifier = Golden("chefer_vit"), golden_vit(dtype)
    classifier.network.norm.eps = 1e-5  # type: ignore[union-attr]
    classes = torch.tensor([golden.number("class_indices")])
    explainer = FullLrp(classifier, matrix_products="halved", stabiliser="published")
    maps = explainer(golden["input.image"].to(dtype), classes).maps
    for index in range(2):
        assert_close(maps[0, index], golden[f"{prefix}class{index}.full"][0], tolerance)


def black_and_white(image: Tensor) -> tuple[Tensor, Tensor]:
    mean = torch.tensor([0.485, 0.456, 0.406]).double()[:, None, None]
    deviation = torch.tensor([0.229, 0.224, 0.225]).double()[:, None, None]
    return (-mean / deviation).expand_as(image), ((1 - mean) / deviation).expand_as(image)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {
            "linear": "separate",
            "additions": "plain",
            "matrix_products": "halved",
            "stabiliser": "published",
        },
        {"pixel_limits": "valid"},
    ],
)
def test_replica_of_a_transformer(options: dict[str, Any]) -> None:
    images = two_images().double()
    explainer = FullLrp(golden_vit(torch.float64), **options)
    assert options.items() <= explainer.options.items()
    found = explainer(images, [[7], [0]])
    rules = SlowRules(**{name: value for name, value in options.items() if name != "pixel_limits"})
    limits = black_and_white if "pixel_limits" in options else image_extremes
    for index, image in enumerate(images):
        label = int(found.classes[index])
        expected = slow_relevance(image, label, rules, limits).pixels
        assert_close(found.maps[index, 0].double(), expected, 2e-6)


@pytest.mark.parametrize("options", [{}, {"linear": "separate"}, {"stabiliser": "published"}])
def test_replica_of_a_cnn(options: dict[str, Any]) -> None:
    classifier, images = small_golden_cnn(), small_images()
    found = FullLrp(classifier, **options)(images, [[7, 2], [0, 9]])
    rules = SlowRules(**options)
    for index, image in enumerate(images):
        for place, label in enumerate(found.classes[index].tolist()):
            expected = slow_cnn_map(classifier.network, image, label, rules)
            assert_close(found.maps[index, place].double(), expected, 2e-6)


def slow_cnn_map(network: nn.Module, image: Tensor, label: int, rules: SlowRules) -> Tensor:
    seen = inputs_of(network, image)
    weights = network.state_dict()

    def convolved(relevance: Tensor, name: str, signs: Tensor) -> Tensor:
        values = seen[f"conv{name}"]
        matrix = as_matrix(signs[:, None, None, None] * weights[f"conv{name}.weight"],
                           *values.shape[1:])  # fmt: skip
        result = rules.through_linear(relevance.flatten()[None], values.flatten()[None], matrix)
        return result.reshape(values.shape)

    start = torch.zeros(1, 10, dtype=torch.float64)
    start[0, label] = 1
    relevance = rules.through_linear(start, seen["fc"][None], weights["fc.weight"])[0]
    relevance = to_sign_of_mean(relevance, seen["pool"])
    relevance = convolved(relevance, "3", torch.ones(32))
    relevance = to_winners(relevance, seen["pool2"])
    relevance = convolved(relevance, "2", weights["bn2.weight"].sign())
    relevance = to_winners(relevance, seen["pool1"])

    signs = weights["bn1.weight"].sign()
    matrix = as_matrix(signs[:, None, None, None] * weights["conv1.weight"], *image.shape[1:])
    lowest, highest = (limit.flatten() for limit in image_extremes(image))
    shares = matrix * image.flatten()
    shares -= matrix.clamp(min=0) * lowest + matrix.clamp(max=0) * highest
    quotient = rules.divide(relevance.flatten(), shares.sum(dim=1))
    return (quotient @ shares).reshape(image.shape).sum(dim=0)


def test_a_two_layer_network_by_hand() -> None:
    """Two pixels of 1 and 2 in one colour, two hidden numbers, a logit; all else is 0.

    Hidden: 3·1 + 1·2 = 5 and 1·1 − 2·2 = −3. To the logit the first brings 2·5 and the second,
    through a weight of its own sign, −4·−3: relevances 10/22 and 12/22. With l = 0 and h = 2 the
    pixels' shares are 3 and 2 in the first, and 1 − 0 and −2·2 + 2·2 = 0 in the second.
    """
    convolution, linear = nn.Conv2d(3, 2, 2), nn.Linear(2, 2)
    with torch.no_grad():
        convolution.weight.zero_()
        convolution.weight[:, 0, 0] = torch.tensor([[3.0, 1.0], [1.0, -2.0]])
        assert convolution.bias is not None
        convolution.bias.zero_()
        linear.weight.copy_(torch.tensor([[2.0, -4.0], [0.0, 0.0]]))
    network = nn.Sequential(nn.Identity(), convolution, nn.Flatten(), linear).double()
    classifier = Classifier(network, preprocessing=Preprocessing.imagenet(2), taps=["0"])
    image = torch.zeros(1, 3, 2, 2, dtype=torch.float64)
    image[0, 0, 0] = torch.tensor([1.0, 2.0])
    maps = FullLrp(classifier)(image, 0).maps
    first, second = 10 / 22, 12 / 22
    expected = torch.tensor([[first * 3 / 5 + second, first * 2 / 5], [0, 0]])
    assert_close(maps[0, 0], expected, 1e-6)


@pytest.mark.parametrize("limits", ["image", "valid"])
@pytest.mark.parametrize("network", ["cnn", "timm resnet"])
def test_the_pixels_of_a_cnn_have_all_relevance(network: str, limits: Any) -> None:
    """No class token and no position embedding keep any; biases are ignored."""
    classifier = TINY[network]()
    classifier.network.double()
    images = torch.randn(2, 3, *classifier.preprocessing.input_size).double()
    maps = FullLrp(classifier, pixel_limits=limits)(images, "all").maps
    assert_close(maps.sum(dim=(2, 3)), torch.ones(2, 7), 1e-4)


def test_options_that_are_refused() -> None:
    with pytest.raises(ExplainerError, match="pixel_limits='none' for full_lrp; allowed: 'image'"):
        FullLrp(TINY["cnn"](), pixel_limits="none")  # type: ignore[arg-type]
    with pytest.raises(ExplainerError, match="additions='absolute' for full_lrp"):
        FullLrp(TINY["cnn"](), additions="absolute")  # type: ignore[arg-type]
