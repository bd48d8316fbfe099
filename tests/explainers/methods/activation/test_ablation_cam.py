from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import Golden, assert_close
from tests.explainers.methods.perturbation_material import (
    golden_classifier,
    noise_images,
    targets_of,
)
from tests.tiny_networks import TINY, tiny_cnn
from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError
from ttame.explainers.methods.activation.ablation_cam import AblationCam


def slow_ablation_cam(classifier: Classifier, image: Tensor, target: int) -> Tensor:
    """The whole network for every channel, (h, w), divided by the magnitude of the logit."""
    tap = classifier.taps[-1]
    layer = classifier.network.get_submodule(tap.layer)
    channel_axis = 1 if tap.layout == "channels first" else -1
    with torch.no_grad():
        reading = classifier.read_features(image[None])
        whole = reading.logits[0, target]
        features = reading.feature_maps[-1][0]
        total = torch.zeros_like(features[0])
        for channel in range(tap.channels):

            def ablate(_module: nn.Module, _args: Any, output: Any, channel: int = channel) -> Any:
                tensor = output if isinstance(output, Tensor) else output[0]
                keep = torch.ones(tap.channels)
                keep[channel] = 0
                shape = [1] * tensor.ndim
                shape[channel_axis] = tap.channels
                return tensor * keep.reshape(shape)

            handle = layer.register_forward_hook(ablate)
            without = classifier.logits(image[None])[0, target]
            handle.remove()
            total += (whole - without) / abs(whole) * features[channel]
    return total


@pytest.mark.parametrize(
    "network", ["cnn", "timm resnet", "transformers vit", "torchvision vit", "timm swin"]
)
def test_it_is_the_formula(network: str) -> None:
    classifier = TINY[network]()
    images = noise_images(classifier)
    maps = AblationCam(classifier, rectified=False)(images, [[4, 1], [0, 5]]).maps
    for image, targets, row in zip(images, [[4, 1], [0, 5]], maps, strict=True):
        for target, ours in zip(targets, row, strict=True):
            assert_close(ours, slow_ablation_cam(classifier, image, target), 2e-4)
    assert torch.equal(AblationCam(classifier)(images, [[4, 1], [0, 5]]).maps, maps.relu())


@pytest.mark.parametrize(
    ("name", "layer"), [("cams_cnn", "relu3"), ("cams_cnn_early", "relu2"), ("cams_vit", "")]
)
def test_golden_tensors(name: str, layer: str) -> None:
    golden = Golden(name)
    classifier = golden_classifier(golden, layer)
    published = AblationCam(
        classifier, replacement="far below minimum", divisor="logit", rectified=False
    )
    maps = published(golden["input.images"], targets_of(golden)).maps[:, 0]
    assert_close(maps, golden["output.ablationcam.raw"], 2e-5)


def test_the_replacements_differ_where_features_are_signed() -> None:
    golden = Golden("cams_vit")
    classifier = golden_classifier(golden)
    zero, far = (
        AblationCam(classifier, replacement=kind)(golden["input.images"], 1).maps  # type: ignore[arg-type]
        for kind in ("zero", "far below minimum")
    )
    assert not torch.allclose(zero, far, rtol=0.1)


def test_a_linear_head_gives_the_closed_form() -> None:
    """Behind global average pooling, losing channel k costs its weight times its mean."""
    classifier = tiny_cnn()
    images = noise_images(classifier)
    explanation = AblationCam(classifier, rectified=False)(images, "all")
    features = classifier.read_features(images).feature_maps[-1].detach()
    linear = classifier.network[-1].weight.detach()  # type: ignore[index,union-attr]
    drops = linear[None] * features.mean(dim=(2, 3))[:, None]
    expected = torch.einsum("bkc,bchw->bkhw", drops, features)
    expected = expected / explanation.logits.abs()[..., None, None]
    assert_close(explanation.maps, expected, 1e-4)
    by_logit = AblationCam(classifier, rectified=False, divisor="logit")(images, "all").maps
    signs = explanation.logits.sign()[..., None, None]
    assert (signs < 0).any() and (signs > 0).any()
    assert_close(by_logit, explanation.maps * signs, 1e-6)


def test_a_logit_of_zero_gives_a_finite_map() -> None:
    classifier = tiny_cnn()
    images = noise_images(classifier, count=1)
    linear: Any = classifier.network[-1]  # type: ignore[index]
    with torch.no_grad():
        for _ in range(3):
            linear.bias[2] -= classifier.logits(images)[0, 2]
    maps = AblationCam(classifier)(images, 2).maps
    assert torch.isfinite(maps).all()
    assert maps.max() > 0


def test_bad_options() -> None:
    with pytest.raises(ExplainerError, match="replacement='mean'.*'zero' or 'far below minimum'"):
        AblationCam(tiny_cnn(), replacement="mean")  # type: ignore[arg-type]
    with pytest.raises(ExplainerError, match="divisor='one'.*'magnitude' or 'logit'"):
        AblationCam(tiny_cnn(), divisor="one")  # type: ignore[arg-type]
