"""Shares of places in an average that is normalised before the last linear layer."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from tests.conftest import assert_close
from tests.tiny_networks import CLASSES, VIT, tiny_cnn, tiny_timm
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.linear_end import evidence_tap, find_linear_end, linear_layer
from ttame.errors import ExplainerError, OtherClassifierError, TapError
from ttame.explainers.known_explainers import methods_for
from ttame.explainers.methods.activation.cam import Cam
from ttame.explainers.methods.activation.class_evidence import ClassEvidence
from ttame.explainers.methods.activation.grad_cam import GradCam
from ttame.explainers.trained.attention_explainer import new_attention_explainer
from ttame.explainers.trained.explainer_folder import load_explainer
from ttame.explainers.trained.known_head_settings import head_settings
from ttame.features.feature_taps import LayerOutput
from ttame.features.normalised_average import NormalisedShares
from ttame.images.preprocessing import Preprocessing
from ttame.networks.layer_outputs import uncompiled
from ttame.training.train_explainer import train_explainer
from ttame.training.training_settings import training_settings


class AveragedThenNormalised(nn.Module):
    """Features in any layout, averaged, normalised, and read by a linear layer."""

    def __init__(self, norm: nn.Module, layout: str = "channels first", pool: str = "mean") -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 6, 3, 2, 1))
        self.turned = nn.Identity()
        self.norm = norm
        self.fc = nn.Linear(6, CLASSES)
        self.layout = layout
        self.pool = pool

    def forward(self, images: Tensor) -> Tensor:
        features = self.features(images)
        if self.layout == "channels last":
            features = self.turned(features.permute(0, 2, 3, 1))
            pooled = features.mean(dim=(1, 2))
        elif self.pool == "mean":
            pooled = features.mean(dim=(2, 3))
        else:
            pooled = features.amax(dim=(2, 3))
        logits: Tensor = self.fc(self.norm(pooled))
        return logits


def classifier_of(
    norm: nn.Module, layout: str = "channels first", pool: str = "mean"
) -> Classifier:
    torch.manual_seed(2)
    network = AveragedThenNormalised(norm, layout, pool)
    for name, parameter in norm.named_parameters():
        nn.init.uniform_(parameter, 0.5, 2.0 if name == "weight" else 1.0)
    return Classifier(network, preprocessing=Preprocessing.imagenet(32))


def tiny_transformers_convnext() -> Classifier:
    from transformers import ConvNextConfig, ConvNextForImageClassification

    torch.manual_seed(1)
    config = ConvNextConfig(hidden_sizes=[8, 8, 12, 16], depths=[1] * 4, num_labels=CLASSES)
    network = ConvNextForImageClassification(config)
    return Classifier(network, preprocessing=Preprocessing.imagenet(64))


def tiny_torchvision_convnext() -> Classifier:
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    torch.manual_seed(1)
    stages = [CNBlockConfig(8, 12, 1), CNBlockConfig(12, None, 1)]
    network = ConvNeXt(stages, num_classes=CLASSES)
    return Classifier(network, preprocessing=Preprocessing.imagenet(64))


NETWORKS: dict[str, tuple[Callable[[], Classifier], str]] = {
    "timm convnext": (
        lambda: tiny_timm("convnext_atto", 64, depths=(1, 1, 1, 1), dims=(8, 12, 16, 24)),
        "normalised:norm_pre:head.norm",
    ),
    "torchvision convnext": (tiny_torchvision_convnext, "normalised:features:classifier.0"),
    "transformers convnext": (
        tiny_transformers_convnext,
        "normalised:convnext.encoder:convnext.layernorm",
    ),
    "timm vit, patches pooled": (
        lambda: tiny_timm("vit_tiny_patch16_224", 64, **VIT, global_pool="avg"),
        "normalised:norm:fc_norm",
    ),
    "timm beit": (
        lambda: tiny_timm("beit_base_patch16_224", 64, **VIT),
        "normalised:norm:fc_norm",
    ),
    "layer norm": (lambda: classifier_of(nn.LayerNorm(6)), "normalised:features:norm"),
    "rms norm": (lambda: classifier_of(nn.RMSNorm(6)), "normalised:features:norm"),
    "no scale": (
        lambda: classifier_of(nn.LayerNorm(6, elementwise_affine=False)),
        "normalised:features:norm",
    ),
    "no bias": (lambda: classifier_of(nn.LayerNorm(6, bias=False)), "normalised:features:norm"),
    "channels last": (
        lambda: classifier_of(nn.LayerNorm(6), "channels last"),
        "normalised:turned:norm",
    ),
}


def with_lively_norms(classifier: Classifier) -> Classifier:
    """Scales start at one and biases at zero, which would hide a mistake."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for module in classifier.network.modules():
            if isinstance(module, nn.LayerNorm) and module.weight is not None:
                module.weight.copy_(0.5 + torch.rand(module.weight.shape, generator=generator))
                if module.bias is not None:
                    module.bias.copy_(torch.rand(module.bias.shape, generator=generator))
    return classifier


def noise(classifier: Classifier, images: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(images, 3, *classifier.preprocessing.input_size, generator=generator)


def slow_shares(norm: nn.Module, features: Tensor) -> Tensor:
    """One number after the other, of (C, h, w) features."""
    numbers = {name: parameter.tolist() for name, parameter in norm.named_parameters()}
    weight, bias = numbers.get("weight"), numbers.get("bias")
    channels, height, width = features.shape
    average = [float(features[c].double().mean()) for c in range(channels)]
    centred = isinstance(norm, nn.LayerNorm)
    middle = sum(average) / channels if centred else 0.0
    square = sum((value - middle) ** 2 for value in average) / channels
    epsilon = norm.eps if norm.eps is not None else torch.finfo(torch.float32).eps
    shares = torch.zeros(channels, height, width)
    for y in range(height):
        for x in range(width):
            here = [float(features[c, y, x]) for c in range(channels)]
            middle = sum(here) / channels if centred else 0.0
            for c in range(channels):
                value = (here[c] - middle) / math.sqrt(square + float(epsilon))  # type: ignore[arg-type]
                value *= 1.0 if weight is None else weight[c]
                shares[c, y, x] = value + (0.0 if bias is None else bias[c])
    return shares


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_shares_are_the_formulas_and_average_to_what_the_last_layer_reads(kind: str) -> None:
    make, name = NETWORKS[kind]
    classifier = with_lively_norms(make())
    end = find_linear_end(classifier)
    assert end is not None and end.pooling == "average"
    assert evidence_tap(classifier, end) == end.features
    tap = end.features
    assert isinstance(tap, NormalisedShares) and tap.to_config() == name
    assert (tap.layer, tap.norm) == tuple(name.split(":")[1:])
    images = noise(classifier)
    both = classifier.with_taps([tap.layer, name])
    reading = both.read_features(images)
    order = [str(one) for one in both.taps]
    features = reading.feature_maps[order.index(tap.layer)]
    shares = reading.feature_maps[order.index(name)]
    norm = uncompiled(classifier.network).get_submodule(tap.norm)
    for image in range(2):
        assert_close(shares[image], slow_shares(norm, features[image]), 1e-5)
    layer = linear_layer(classifier, end.layer)
    assert_close(layer(shares.mean(dim=(2, 3))), reading.logits, 1e-5)


@pytest.mark.parametrize("kind", ["timm convnext", "timm beit", "rms norm"])
def test_cam_adds_up_to_the_logits(kind: str) -> None:
    classifier = with_lively_norms(NETWORKS[kind][0]())
    explanation = Cam(classifier)(noise(classifier), "all")
    end = find_linear_end(classifier)
    assert end is not None
    bias = linear_layer(classifier, end.layer).bias
    assert_close(explanation.maps.mean(dim=(2, 3)) + bias, explanation.logits, 1e-5)
    evidence = ClassEvidence(classifier, details=1.0)(noise(classifier), "all")
    assert torch.equal(evidence.maps, explanation.maps)


def test_each_image_has_its_own_divisor() -> None:
    classifier = with_lively_norms(NETWORKS["timm convnext"][0]())
    cam, images = Cam(classifier), noise(classifier, 3)
    together = cam(images, 2).maps
    one_by_one = torch.cat([cam(image[None], 2).maps for image in images])
    assert_close(together, one_by_one, 1e-5)


def test_a_name_finds_the_shares_again_and_other_sizes_are_read() -> None:
    classifier = NETWORKS["timm convnext"][0]()
    name = NETWORKS["timm convnext"][1]
    tapped = classifier.with_taps(["stages.2", name])
    assert [str(tap) for tap in tapped.taps] == ["stages.2", name]
    wide = tapped.read_features(torch.randn(1, 3, 96, 128))
    assert wide.feature_maps[1].shape == (1, 24, 3, 4)
    with pytest.raises(
        TapError, match=r"average of 'stages\.1' is not what 'head\.norm' normalises"
    ):
        classifier.with_taps(["normalised:stages.1:head.norm"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("normalised:stage.3:head.norm", r"no layer 'stage\.3' runs.*try: stages\.3"),
        ("normalised:norm_pre:head.nrm", r"no layer 'head\.nrm' runs.*try: head\.norm"),
        ("normalised:", r"no layer '' runs.*normalised:LAYER:NORM"),
        ("normalised:norm_pre", r"normalised:LAYER:NORM"),
    ],
)
def test_a_name_that_names_nothing_says_what_does(name: str, message: str) -> None:
    with pytest.raises(TapError, match=message):
        NETWORKS["timm convnext"][0]().with_taps([name])


def test_a_network_in_train_mode_is_described_as_it_evaluates() -> None:
    classifier = NETWORKS["timm convnext"][0]()
    network = classifier.network.train()
    for module in network.modules():
        if hasattr(module, "drop_prob"):
            module.drop_prob = 0.9
    name = NETWORKS["timm convnext"][1]
    in_train_mode = Classifier(network, preprocessing=classifier.preprocessing, taps=[name])
    assert str(in_train_mode.taps[0]) == name and network.training


class NormalisedTwice(AveragedThenNormalised):
    """The norm runs on every place first, and then on their average."""

    def forward(self, images: Tensor) -> Tensor:
        places = self.features(images).flatten(2).transpose(1, 2)
        logits: Tensor = self.fc(self.norm(places.mean(dim=1))) + 0 * self.norm(places).sum()
        return logits


class OfOtherShape(AveragedThenNormalised):
    """A LayerNorm over (C, 1, 1) does the same to an average, but not to other vectors."""

    def forward(self, images: Tensor) -> Tensor:
        pooled = self.features(images).mean(dim=(2, 3), keepdim=True)
        logits: Tensor = self.fc(self.norm(pooled).flatten(1))
        return logits


class OneMore(nn.RMSNorm):
    """A scale that begins at zero and counts from one, as in Gemma."""

    def forward(self, vectors: Tensor) -> Tensor:
        return nn.functional.rms_norm(vectors, self.normalized_shape, 1 + self.weight, self.eps)


def clamped(_norm: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
    return output.clamp_min(0)


@pytest.mark.parametrize("kind", ["twice", "of other shape", "one more", "hooked", "colons"])
def test_a_norm_that_does_something_else_gives_no_end_and_no_error(kind: str) -> None:
    torch.manual_seed(2)
    network: nn.Module
    if kind == "twice":
        network = NormalisedTwice(nn.LayerNorm(6))
    elif kind == "of other shape":
        network = OfOtherShape(nn.LayerNorm((6, 1, 1)))
    elif kind == "one more":
        network = AveragedThenNormalised(OneMore(6))
    else:
        network = AveragedThenNormalised(nn.LayerNorm(6))
    if kind == "hooked":
        network.norm.register_forward_hook(clamped)
    if kind == "colons":
        network = nn.Sequential(
            OrderedDict([("a:b", network.features), ("pool", nn.AdaptiveAvgPool2d(1)),
                         ("flat", nn.Flatten()), ("c:d", nn.LayerNorm(6)), ("fc", network.fc)])
        )  # fmt: skip
    classifier = Classifier(
        network,
        preprocessing=Preprocessing.imagenet(32),
        taps=["a:b.0" if kind == "colons" else "features.0"],
    )
    assert find_linear_end(classifier) is None
    if kind in ("one more", "hooked"):
        with pytest.raises(TapError, match="is not what 'norm' normalises"):
            classifier.with_taps(["normalised:features:norm"])


@pytest.mark.parametrize("kind", ["maximum", "batch norm", "plain"])
def test_what_is_not_averaged_and_normalised_is_not_taken_for_it(kind: str) -> None:
    if kind == "plain":
        end = find_linear_end(tiny_cnn())
        assert end is not None and isinstance(end.features, LayerOutput)
        return
    norm = nn.LayerNorm(6) if kind == "maximum" else nn.BatchNorm1d(6)
    classifier = classifier_of(norm, pool="maximum" if kind == "maximum" else "mean")
    assert find_linear_end(classifier) is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_recognised_too(dtype: torch.dtype) -> None:
    home = with_lively_norms(NETWORKS["timm convnext"][0]())
    expected = Cam(home)(noise(home), 1).maps
    classifier = Classifier(home.network.to(dtype), preprocessing=home.preprocessing)
    found = Cam(classifier)(noise(home).to(dtype), 1).maps
    assert_close(found, expected, 0.05)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scale", [0.05, 1.0, 1600.0])
@pytest.mark.parametrize("norm", [nn.LayerNorm(6), nn.RMSNorm(6)], ids=["layer norm", "rms norm"])
def test_half_precision_squares_no_large_numbers_and_has_float_epsilons(
    norm: nn.Module, scale: float, dtype: torch.dtype
) -> None:
    classifier = classifier_of(copy.deepcopy(norm))
    with torch.no_grad():
        for parameter in classifier.network.features.parameters():
            parameter.mul_(scale**0.5)
    network = copy.deepcopy(classifier.network).to(dtype)
    half = Classifier(network, preprocessing=classifier.preprocessing)
    explanation = Cam(half)(noise(half, 8).to(dtype), "all")
    assert bool((explanation.maps.std(dim=(2, 3)) > 0).all())
    bias = network.fc.bias.float()
    roundings = 8 * torch.finfo(dtype).eps
    assert_close(explanation.maps.mean(dim=(2, 3)) + bias, explanation.logits, roundings)


def test_shares_are_no_layer_for_a_method_of_gradients() -> None:
    classifier = NETWORKS["timm convnext"][0]()
    name = NETWORKS["timm convnext"][1]
    with pytest.raises(TapError, match=f"{name}, which is not an output of a layer.*'norm_pre'"):
        GradCam(classifier, layer=name)


def test_gradients_flow_through_the_shares() -> None:
    classifier = NETWORKS["timm convnext"][0]()
    end = find_linear_end(classifier)
    assert end is not None
    images = noise(classifier).requires_grad_()
    shares = classifier.with_taps([end.features]).read_features(images).feature_maps[0]
    (gradient,) = torch.autograd.grad(shares.square().sum(), images)
    assert float(gradient.abs().max()) > 0


def test_no_hook_stays() -> None:
    classifier = NETWORKS["timm convnext"][0]()
    end = find_linear_end(classifier)
    assert end is not None
    classifier.with_taps([end.features]).read_features(noise(classifier))
    for module in classifier.network.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks


def test_shares_as_the_only_tap_leave_methods_that_need_a_layer_out() -> None:
    classifier = NETWORKS["timm convnext"][0]().with_taps([NETWORKS["timm convnext"][1]])
    defined, reasons = methods_for(classifier, ["cam", "grad_cam", "input_x_gradient"])
    assert list(defined) == ["cam", "input_x_gradient"]
    assert "not an output of a layer" in reasons["grad_cam"]
    with pytest.raises(TapError, match="a classifier that also taps the output of a layer"):
        GradCam(classifier)


def test_features_beside_the_network_cannot_be_masked(tmp_path: Path) -> None:
    name = NETWORKS["timm convnext"][1]
    classifier = NETWORKS["timm convnext"][0]().with_taps(["stages.2", name])
    images = TensorDataset(torch.randint(256, (8, 3, 64, 64), dtype=torch.uint8))
    settings = training_settings("l-cam-fm", batch_size=2, workers=0)
    with pytest.raises(ExplainerError, match=r"not an output of a layer.*taps=.'norm_pre'"):
        train_explainer(classifier, images, tmp_path / "out", settings)


def test_a_saved_explainer_reads_the_shares_again(tmp_path: Path) -> None:
    classifier = NETWORKS["timm convnext"][0]()
    explainer = new_attention_explainer(classifier, head_settings("few-shot", maps="min-max"))
    explainer.save(tmp_path / "saved")
    again = load_explainer(tmp_path / "saved", classifier=NETWORKS["timm convnext"][0]())
    assert str(again.classifier.taps[-1]) == NETWORKS["timm convnext"][1]
    images = noise(classifier)
    assert torch.equal(again(images, "all").maps, explainer(images, "all").maps)
    small = NETWORKS["timm convnext"][0]()
    tiny = dataclasses.replace(small.preprocessing, input_size=(32, 32))
    with pytest.raises(OtherClassifierError, match="image_size=64"):
        load_explainer(tmp_path / "saved", classifier=Classifier(small.network, preprocessing=tiny))
