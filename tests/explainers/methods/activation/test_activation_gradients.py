"""Grad-CAM and its relatives: golden tensors, slow replicas of the formulas, closed forms."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from tests.conftest import Golden, assert_close
from tests.golden_networks import golden_cnn
from tests.tiny_networks import TINY, tiny_cnn
from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError, ImageError, TapError
from ttame.explainers.known_explainers import make_explainer
from ttame.explainers.methods.activation.grad_cam import GradCam
from ttame.explainers.methods.activation.grad_cam_plus_plus import GradCamPlusPlus
from ttame.explainers.methods.activation.xgrad_cam import XGradCam
from ttame.images.preprocessing import Preprocessing

PUBLISHED = {
    "grad_cam": "gradcam",
    "grad_cam_plus_plus": "gradcam_plusplus",
    "xgrad_cam": "xgradcam",
    "hires_cam": "hirescam",
    "layer_cam": "layercam",
    "grad_cam_elementwise": "gradcam_elementwise",
}
LAYERS = {"cams_cnn": "relu3", "cams_cnn_early": "relu2", "cams_vit": "blocks.2.norm1"}

every_method = pytest.mark.parametrize("method", PUBLISHED)


@functools.cache
def golden_case(name: str) -> tuple[Golden, Classifier, list[int]]:
    """Tensors, their network and the explained classes."""
    golden = Golden(name)
    weights = golden.under("weights.")
    network: nn.Module
    if name == "cams_vit":
        norm = functools.partial(nn.LayerNorm, eps=1e-6)
        sizes = golden.number("vit_config")
        network = timm.models.VisionTransformer(norm_layer=norm, **sizes)
        network.load_state_dict(weights)
    else:
        network = golden_cnn(weights)
    size = golden["input.images"].shape[-1]
    classifier = Classifier(network, preprocessing=Preprocessing.imagenet(size))
    return golden, classifier, json.loads(golden.metadata["target_classes"])


@every_method
@pytest.mark.parametrize("case", LAYERS)
def test_raw_maps_are_those_of_the_published_code(method: str, case: str) -> None:
    golden, classifier, classes = golden_case(case)
    tolerance = 2e-4 if (case, method) == ("cams_vit", "xgrad_cam") else 2e-5
    raw = golden[f"output.{PUBLISHED[method]}.raw"]
    for rectified, expected in ((False, raw), (True, raw.relu())):
        explainer = make_explainer(method, classifier, layer=LAYERS[case], rectified=rectified)
        explanation = explainer(golden["input.images"], classes)
        assert_close(explanation.maps[:, 0], expected, tolerance)
        assert_close(explanation.logits, golden["output.logits"], 1e-5)
        assert explanation.provenance["layer"] == LAYERS[case]
        assert explanation.provenance["rectified"] is rectified


def test_a_vision_transformer_is_read_at_the_norm_before_its_last_attention() -> None:
    _, classifier, _ = golden_case("cams_vit")
    assert GradCam(classifier).options["layer"] == LAYERS["cams_vit"]


def features_and_gradients(network: nn.Sequential, image: Tensor, cut: int, label: int) -> Any:
    """A and g of one image by hand: (C, h, w) each, in double precision."""
    features = network[:cut](image[None].double()).detach().requires_grad_()
    network[cut:](features)[0, label].backward()
    return features[0].detach(), features.grad[0]  # type: ignore[index]


def slow_grad_cam(a: Tensor, g: Tensor) -> Tensor:
    channels, height, width = a.shape
    total = torch.zeros(height, width, dtype=a.dtype)
    for k in range(channels):
        total += sum(g[k].flatten().tolist()) / (height * width) * a[k]
    return total


def slow_grad_cam_plus_plus(a: Tensor, g: Tensor, epsilon: float = 1e-6) -> Tensor:
    total = torch.zeros(a.shape[1:], dtype=a.dtype)
    for k in range(len(a)):
        weight = 0.0
        for slope in g[k].flatten().tolist():
            if slope > 0:
                divisor = 2 * slope**2 + float(a[k].sum()) * slope**3 + epsilon
                weight += slope**2 / divisor * slope
        total += weight * a[k]
    return total


def slow_xgrad_cam(a: Tensor, g: Tensor) -> Tensor:
    total = torch.zeros(a.shape[1:], dtype=a.dtype)
    for k in range(len(a)):
        total += float((g[k] * a[k]).sum()) / (float(a[k].sum()) + 1e-7) * a[k]
    return total


def slow_hires_cam(a: Tensor, g: Tensor) -> Tensor:
    total = torch.zeros(a.shape[1:], dtype=a.dtype)
    for k in range(len(a)):
        total += g[k] * a[k]
    return total


def slow_layer_cam(a: Tensor, g: Tensor) -> Tensor:
    total = torch.zeros(a.shape[1:], dtype=a.dtype)
    for k in range(len(a)):
        total += g[k].clamp(min=0) * a[k]
    return total


def slow_grad_cam_elementwise(a: Tensor, g: Tensor) -> Tensor:
    total = torch.zeros(a.shape[1:], dtype=a.dtype)
    for k in range(len(a)):
        total += torch.maximum(g[k] * a[k], torch.zeros_like(a[k]))
    return total


SLOW: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "grad_cam": slow_grad_cam,
    "grad_cam_plus_plus": slow_grad_cam_plus_plus,
    "xgrad_cam": slow_xgrad_cam,
    "hires_cam": slow_hires_cam,
    "layer_cam": slow_layer_cam,
    "grad_cam_elementwise": slow_grad_cam_elementwise,
}


@every_method
@pytest.mark.parametrize("layer", ["3", "6"], ids=["signed features", "rectified features"])
def test_maps_are_those_of_the_slow_formula(method: str, layer: str) -> None:
    """After layer 3 follow a rectifier and a convolution: features are signed, slopes vary."""
    classifier = tiny_cnn()
    network = classifier.network
    assert isinstance(network, nn.Sequential)
    images = torch.randn(2, 3, 40, 56)
    maps = make_explainer(method, classifier, layer=layer, rectified=False)(images, "all").maps
    network = network.eval().double()
    for index in (0, 1):
        for label in (0, 4):
            a, g = features_and_gradients(network, images[index], int(layer) + 1, label)
            expected = SLOW[method](a, g)
            # XGrad-CAM on signed features enlarges the rounding of single precision.
            assert_close(maps[index, label].double(), expected, 1e-4)


@pytest.mark.parametrize("method", [name for name in PUBLISHED if name != "grad_cam_elementwise"])
def test_rectifying_only_cuts_off_what_is_negative(method: str) -> None:
    classifier = TINY["timm vit"]()
    images = torch.randn(2, 3, 64, 64)
    signed = make_explainer(method, classifier, rectified=False)(images, "top2").maps
    assert (signed < 0).any()
    rectified = make_explainer(method, classifier)(images, "top2").maps
    assert torch.equal(rectified, signed.relu())


def test_on_a_linear_head_four_methods_are_one() -> None:
    """With average pooling the gradient is the same everywhere: METHODS, identities to test."""
    classifier = tiny_cnn()
    images = torch.randn(2, 3, 32, 32)
    cam = make_explainer("cam", classifier)(images, "all").maps
    places = cam.shape[2] * cam.shape[3]
    for method in ("grad_cam", "hires_cam", "xgrad_cam"):
        maps = make_explainer(method, classifier, rectified=False)(images, "all").maps
        assert_close(maps, cam / places, 1e-5)


def test_xgrad_cam_sums_to_features_times_gradients() -> None:
    """The axiom of conservation that the paper derives its weights from."""
    classifier = tiny_cnn()
    images = torch.randn(2, 3, 32, 32)
    xgrad = XGradCam(classifier, layer="4", rectified=False)(images, "all").maps
    hires = make_explainer("hires_cam", classifier, layer="4", rectified=False)(images, "all").maps
    assert_close(xgrad.sum(dim=(2, 3)), hires.sum(dim=(2, 3)), 1e-5)


def test_grad_cam_plus_plus_without_epsilon_is_the_papers_formula() -> None:
    """``α = 1 / (2 + ΣA g)`` where g is positive, however small the gradients are."""
    features = torch.rand(1, 3, 4, 4)
    gradients = torch.randn(1, 3, 4, 4) * 1e-3
    gradients[0, 1, 0] = 0
    paper = GradCamPlusPlus(tiny_cnn(), epsilon=0)
    shares = 1 / (2 + features.sum(dim=(2, 3), keepdim=True) * gradients)
    weights = (shares * gradients.relu()).sum(dim=(2, 3), keepdim=True)
    expected = (weights * features).sum(dim=1)
    assert_close(paper.evidence(features, gradients), expected, 1e-5)
    published = GradCamPlusPlus(tiny_cnn()).evidence(features, gradients)
    assert (published - expected).abs().max() > 0.1 * expected.max()
    assert paper.options["epsilon"] == 0


def test_grad_cam_plus_plus_without_any_gradient_is_empty() -> None:
    paper = GradCamPlusPlus(tiny_cnn(), epsilon=0)
    assert torch.equal(paper.evidence(torch.rand(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)),
                       torch.zeros(1, 4, 4))  # fmt: skip


def test_the_layer_before_one_that_works_in_place_is_read_unchanged() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network = nn.Sequential(*layers, nn.Linear(6, 4))
    maps = []
    for inplace in (False, True):
        network[1] = nn.ReLU(inplace=inplace)
        classifier = Classifier(network, preprocessing=Preprocessing.imagenet(8), taps=["0"])
        maps.append(GradCam(classifier, rectified=False)(torch.ones(1, 3, 8, 8), 2).maps)
    assert torch.equal(*maps)
    a = layers[0](torch.ones(1, 3, 8, 8))[0].detach()
    g = network[-1].weight[2].detach()[:, None, None] / 64 * (a > 0)
    assert_close(maps[0][0, 0], slow_grad_cam(a, g), 1e-5)


@every_method
def test_gradients_are_taken_where_the_caller_switched_them_off(method: str) -> None:
    explainer = make_explainer(method, tiny_cnn())
    images = torch.randn(2, 3, 32, 32)
    expected = explainer(images).maps
    with torch.no_grad():
        assert torch.equal(explainer(images).maps, expected)
    with torch.inference_mode():
        assert torch.equal(explainer(images.clone()).maps, expected)


def test_the_images_of_the_caller_get_no_gradient() -> None:
    images = torch.randn(1, 3, 32, 32, requires_grad=True)
    maps = GradCam(tiny_cnn())(images).maps
    assert images.grad is None
    assert not maps.requires_grad


@every_method
def test_half_precision_gives_nearly_the_same_maps(method: str) -> None:
    classifier = tiny_cnn()
    images = torch.randn(2, 3, 32, 32)
    expected = make_explainer(method, classifier)(images, [1, 1]).maps
    classifier.network.to(torch.bfloat16)
    maps = make_explainer(method, classifier)(images, [1, 1]).maps
    assert maps.dtype == torch.float32
    assert_close(maps, expected, 0.1)


def test_a_wrong_layer_is_an_error_with_near_matches() -> None:
    classifier = TINY["timm resnet"]()
    with pytest.raises(TapError, match=r"'layer5' does not exist; try: layer\d"):
        GradCam(classifier, layer="layer5")
    with pytest.raises(TapError, match="not a feature map"):
        GradCam(classifier, layer="fc")
    with pytest.raises(ExplainerError, match="epsilon -1"):
        GradCamPlusPlus(classifier, epsilon=-1)
    with pytest.raises(ImageError, match=r"torch\.uint8"):
        GradCam(classifier)(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


class TwoBranches(nn.Module):
    """The logits do not depend on the second branch."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(3, 6, 3, 2, 1)
        self.linear = nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        self.unused(images)
        return self.linear(self.used(images).mean(dim=(2, 3)))


def test_a_layer_that_the_logits_do_not_depend_on_is_an_error() -> None:
    classifier = Classifier(TwoBranches(), preprocessing=Preprocessing.imagenet(16))
    assert classifier.tap_choice.taps[-1].layer == "used"
    said = "layer 'unused', on which the class scores do not depend; .*; try: used"
    with pytest.raises(TapError, match=said):
        GradCam(classifier, layer="unused")
    with pytest.raises(TapError, match=said):
        Classifier(TwoBranches(), preprocessing=Preprocessing.imagenet(16), taps=["unused"])


def test_after_the_last_block_a_class_token_leaves_no_evidence() -> None:
    classifier = TINY["timm vit"]()
    explanation = GradCam(classifier, layer="blocks.3")(torch.randn(2, 3, 64, 64))
    assert not explanation.has_evidence.any()
