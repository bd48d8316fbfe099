"""CAM: which heads are linear on averaged features, and what the map then sums to."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import assert_close
from tests.explainers.methods.activation.test_activation_gradients import golden_case
from tests.tiny_networks import CLASSES, TINY, tiny_timm
from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError
from ttame.explainers.methods.activation.cam import Cam
from ttame.images.preprocessing import Preprocessing

SWIN = {"embed_dim": 12, "depths": (1, 1), "num_heads": (1, 2)}


def torchvision_swin() -> Classifier:
    """Channels last inside, permuted before its average pooling."""
    from torchvision.models import SwinTransformer

    network = SwinTransformer(
        patch_size=[4, 4], window_size=[4, 4], num_classes=CLASSES, **SWIN
    )  # fmt: skip
    return Classifier(network, preprocessing=Preprocessing.imagenet(32))


POOLED: dict[str, tuple[Callable[[], Classifier], str, str]] = {
    "cnn": (TINY["cnn"], "6", "channels first"),
    "timm resnet": (TINY["timm resnet"], "layer4", "channels first"),
    "timm swin": (TINY["timm swin"], "norm", "channels last"),
    "torchvision swin": (torchvision_swin, "permute", "channels first"),
    "timm vit, patches pooled": (TINY["timm vit, patches pooled"], "norm", "tokens"),
    "timm efficientnet": (lambda: tiny_timm("efficientnet_lite0", 64), "", "channels first"),
}
OTHERS = ["timm vit", "timm vit, distilled", "timm vit, registers", "transformers vit"]


@pytest.mark.parametrize("network", POOLED)
def test_the_mean_of_a_map_plus_the_bias_is_the_logit(network: str) -> None:
    make, layer, layout = POOLED[network]
    classifier = make()
    cam = Cam(classifier)
    if layer:
        assert cam.end.features.layer == layer
    assert cam.end.features.layout == layout
    explanation = cam(torch.randn(2, 3, *classifier.preprocessing.input_size), "all")
    linear = classifier.network.get_submodule(cam.end.layer)
    assert isinstance(linear, nn.Linear)
    assert min(explanation.maps.shape[2:]) > 1
    assert_close(explanation.maps.mean(dim=(2, 3)) + linear.bias, explanation.logits, 1e-5)


@pytest.mark.parametrize("network", OTHERS)
def test_a_head_on_a_class_token_has_no_cam(network: str) -> None:
    with pytest.raises(ExplainerError, match="not defined for.*globally averaged.*grad_cam"):
        Cam(TINY[network]())


def test_a_head_that_starts_at_zero_is_not_taken_for_a_pooled_one() -> None:
    """Its logits are the same for any features, so that logits alone would prove nothing."""
    classifier = TINY["timm vit"]()
    nn.init.zeros_(classifier.network.get_submodule("head").weight)  # type: ignore[arg-type]
    with pytest.raises(ExplainerError, match="not defined for"):
        Cam(classifier)


class ScaledLogits(nn.Module):
    """A linear layer on averaged features, and something after it."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU())
        self.linear = nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        return torch.tanh(self.linear(self.features(images).mean(dim=(2, 3))))


def test_logits_that_are_not_the_linear_layers_have_no_cam() -> None:
    classifier = Classifier(
        ScaledLogits(), preprocessing=Preprocessing.imagenet(16), taps=["features"]
    )
    with pytest.raises(ExplainerError, match="not defined for ScaledLogits"):
        Cam(classifier)


def test_a_network_without_a_linear_layer_has_no_cam() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 4, 1),
        nn.AdaptiveAvgPool2d(1), nn.Tanh(), nn.Flatten(),
    )  # fmt: skip
    classifier = Classifier(network, preprocessing=Preprocessing.imagenet(16), taps=["1"])
    with pytest.raises(ExplainerError, match="not defined for"):
        Cam(classifier)


def test_the_map_is_the_weighted_sum_of_channels() -> None:
    golden, classifier, classes = golden_case("cams_cnn")
    features, weights = golden["output.activations"], golden["weights.fc.weight"]
    maps = Cam(classifier)(golden["input.images"], classes).maps
    for index, label in enumerate(classes):
        expected = sum(weights[label, k] * features[index, k] for k in range(32))
        assert isinstance(expected, Tensor)
        assert_close(maps[index, 0], expected, 1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_head_is_recognised_in_half_precision(dtype: torch.dtype) -> None:
    classifier = TINY["timm resnet"]()
    images = torch.randn(2, 3, 64, 64)
    expected = Cam(classifier)(images, 1).maps
    classifier.network.to(dtype)
    again = Classifier(classifier.network, preprocessing=classifier.preprocessing)
    assert_close(Cam(again)(images, 1).maps, expected, 0.1)
