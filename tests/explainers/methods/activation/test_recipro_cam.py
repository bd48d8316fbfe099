from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import Golden, assert_close
from tests.explainers.methods.perturbation_material import golden_classifier, noise_images
from tests.tiny_networks import TINY, tiny_cnn
from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError
from ttame.explainers.methods.activation.recipro_cam import ReciproCam

KERNEL = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 16


def slow_recipro_cam(classifier: Classifier, image: Tensor, *, gaussian: bool) -> Tensor:
    """The whole network for every place, (C, h, w) probabilities."""
    tap = classifier.taps[-1]
    layer = classifier.network.get_submodule(tap.layer)
    height, width = tap.grid
    maps = torch.zeros(classifier.number_of_classes, height, width)
    for row in range(height):
        for column in range(width):
            mask = torch.zeros(height + 2, width + 2)
            if gaussian:
                mask[row : row + 3, column : column + 3] = KERNEL
            else:
                mask[row + 1, column + 1] = 1
            mask = mask[1:-1, 1:-1]

            def keep(_module: nn.Module, _args: Any, output: Any, mask: Tensor = mask) -> Any:
                tensor = output if isinstance(output, Tensor) else output[0]
                if tap.layout == "channels first":
                    return tensor * mask
                if tap.layout == "channels last":
                    return tensor * mask[..., None]
                changed = tensor.clone()
                for index, factor in enumerate(mask.flatten().tolist()):
                    changed[:, tap.prefix_tokens + index] *= factor
                return changed

            handle = layer.register_forward_hook(keep)
            with torch.no_grad():
                maps[:, row, column] = classifier.logits(image[None])[0].softmax(0)
            handle.remove()
    return maps


@pytest.mark.parametrize("gaussian", [False, True])
@pytest.mark.parametrize(
    "network", ["cnn", "timm vit, distilled", "transformers vit", "torchvision vit", "timm swin"]
)
def test_it_is_the_formula(network: str, gaussian: bool) -> None:
    classifier = TINY[network]()
    images = noise_images(classifier)
    maps = ReciproCam(classifier, gaussian=gaussian)(images, "all").maps
    for image, ours in zip(images, maps, strict=True):
        assert_close(ours, slow_recipro_cam(classifier, image, gaussian=gaussian), 1e-5)


def test_golden_tensors() -> None:
    golden = Golden("recipro_cam_cnn")
    classifier = golden_classifier(golden)
    explanation = ReciproCam(classifier, score="logit")(golden["input.image"], "all")
    assert_close(explanation.maps, golden["output.maps"], 2e-5)
    assert_close(explanation.logits, golden["output.logits"], 2e-5)


def test_a_linear_head_gives_the_closed_form() -> None:
    """Behind global average pooling, logits of single places are CAM over N, plus the bias."""
    classifier = tiny_cnn()
    images = noise_images(classifier)
    maps = ReciproCam(classifier, score="logit")(images, "all").maps
    features = classifier.read_features(images).feature_maps[-1].detach()
    linear: Any = classifier.network[-1]  # type: ignore[index]
    cam = torch.einsum("kc,bchw->bkhw", linear.weight.detach(), features)
    expected = cam / features[0, 0].numel() + linear.bias.detach()[:, None, None]
    assert_close(maps, expected, 1e-5)


def test_images_of_another_size() -> None:
    classifier = tiny_cnn()
    images = torch.randn(2, 3, 48, 80)
    assert ReciproCam(classifier)(images).maps.shape == (2, 1, 6, 10)


def test_bad_options() -> None:
    with pytest.raises(ExplainerError, match="score 'loss'"):
        ReciproCam(tiny_cnn(), score="loss")  # type: ignore[arg-type]
