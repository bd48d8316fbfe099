"""FullGrad: golden tensors, a slow replica, and completeness of what it adds up."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn

from tests.conftest import assert_close
from tests.explainers.methods.activation.test_activation_gradients import golden_case
from tests.tiny_networks import TINY
from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError
from ttame.explainers.methods.gradient.full_grad import FullGrad
from ttame.images.preprocessing import Preprocessing
from ttame.images.saliency_maps import resize_maps


def scaled(tensor: Tensor) -> Tensor:
    tensor = tensor - tensor.amin(dim=(-2, -1), keepdim=True)
    return tensor / (tensor.amax(dim=(-2, -1), keepdim=True) + 1e-7)


def test_golden() -> None:
    golden, classifier, classes = golden_case("cams_cnn")
    maps = FullGrad(classifier)(golden["input.images"], classes).maps[:, 0]
    assert_close(scaled(maps), golden["output.fullgrad.map"], 2e-5)


def norm(channels: int) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(channels).eval()
    for tensor in (layer.weight, layer.bias, layer.running_mean):
        nn.init.normal_(tensor)  # type: ignore[arg-type]
    return layer


def biased_network(inplace: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1, bias=False),
        norm(4),
        nn.ReLU(inplace=inplace),
        nn.Conv2d(4, 6, 3, 2, 1),
        nn.ReLU(inplace=inplace),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 5),
    ).eval()


def contributions(network: nn.Sequential, image: Tensor, label: int) -> list[Tensor]:
    """Of the pixels and of each bias, one image at a time, with every output kept by hand."""
    places = [image[None].clone().requires_grad_()]
    for layer in network:
        places.append(layer(places[-1]))
    gradients = torch.autograd.grad(places[-1][0, label], places)
    bn = network[1]
    implicit = bn.bias - bn.running_mean * bn.weight / (bn.running_var + bn.eps).sqrt()  # type: ignore[operator, union-attr]
    biases = {0: image, 2: implicit[:, None, None], 4: network[3].bias[:, None, None]}  # type: ignore[index]
    return [bias.detach() * gradients[at][0] for at, bias in biases.items()]


@pytest.mark.parametrize("inplace", [False, True])
def test_replica(inplace: bool) -> None:
    images = torch.randn(2, 3, 16, 24)
    classifier = Classifier(biased_network(inplace), preprocessing=Preprocessing.imagenet(16))
    maps = FullGrad(classifier)(images, [[1, 4], [0, 2]]).maps
    for index, labels in enumerate([[1, 4], [0, 2]]):
        for place, label in enumerate(labels):
            total = torch.zeros(16, 24)
            parts = contributions(biased_network(), images[index], label)
            for part in parts:
                for channel in part:
                    total += resize_maps(scaled(channel.abs())[None, None], (16, 24))[0, 0]
            assert_close(maps[index, place], total, 1e-5)
            logits = biased_network()(images[index][None])[0]
            complete = sum(part.sum() for part in parts) + biased_network()[-1].bias[label]
            assert_close(complete, logits[label], 1e-5)  # type: ignore[arg-type]


def test_a_normalisation_that_also_activates_is_read_before_its_activation() -> None:
    torch.manual_seed(0)
    fused = timm.layers.BatchNormAct2d(4).eval()
    apart = norm(4)
    fused.load_state_dict(apart.state_dict())
    maps = []
    for middle in ([fused], [apart, nn.ReLU()]):
        network = nn.Sequential(nn.Conv2d(3, 4, 3), *middle, nn.Conv2d(4, 4, 1), nn.Flatten(2))
        torch.manual_seed(1)
        for layer in (network[0], network[-2]):
            nn.init.normal_(layer.weight)  # type: ignore[arg-type]
            nn.init.normal_(layer.bias)  # type: ignore[arg-type]
        pooled = nn.Sequential(network, nn.AdaptiveAvgPool1d(1), nn.Flatten())
        classifier = Classifier(pooled, preprocessing=Preprocessing.imagenet(8))
        maps.append(FullGrad(classifier)(torch.ones(1, 3, 8, 8), 2).maps)
    assert_close(maps[0], maps[1], 1e-6)


def test_transformers_are_refused() -> None:
    with pytest.raises(ExplainerError, match="full_grad is not defined for .*try: input_x_grad"):
        FullGrad(TINY["timm vit"]())
