"""Networks and golden tensors that the perturbation methods' tests share."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import Tensor, nn

from tests.conftest import Golden
from tests.golden_networks import golden_cnn
from ttame.classifiers.classifier import Classifier
from ttame.images.preprocessing import Preprocessing


def golden_classifier(golden: Golden, layer: str = "relu3") -> Classifier:
    """The golden CNN or Vision Transformer, tapped at one layer."""
    images = golden["input.images"] if "input.images" in golden.tensors else golden["input.image"]
    preprocessing = Preprocessing.imagenet(int(images.shape[2]))
    weights = golden.under("weights.")
    if "conv1.weight" in weights:
        return Classifier(golden_cnn(weights), preprocessing=preprocessing, taps=[layer])
    config = golden.number("vit_config")
    network = timm.create_model(
        "vit_base_patch16_224",
        **{name: config[name] for name in ("img_size", "patch_size", "embed_dim", "depth")},
        num_heads=config["num_heads"],
        num_classes=config["num_classes"],
        mlp_ratio=config["mlp_ratio"],
    )
    network.load_state_dict(weights)
    return Classifier(network, preprocessing=preprocessing)


def targets_of(golden: Golden) -> Tensor:
    return torch.tensor(golden.number("target_classes"))


def noise_images(classifier: Classifier, count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    size = classifier.preprocessing.input_size
    return torch.randn(count, 3, *size, generator=generator)


IMAGES_OF_FOLDING = 6
"""Three runs of two images of noise find and check what ``for_many_passes`` folds."""


def runs_of(module: nn.Module, **_: Any) -> list[int]:
    """The batch sizes that a module is called with, from now on."""
    sizes: list[int] = []
    module.register_forward_hook(lambda _module, _args, output: sizes.append(len(output)))
    return sizes
