"""Small networks of every kind that the tests explain; random weights, milliseconds each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ttame.classifiers.classifier import Classifier
from ttame.classifiers.known_classifiers import load_classifier
from ttame.images.preprocessing import Preprocessing

CLASSES = 7


def tiny_cnn(size: int = 32) -> Classifier:
    """Three convolutions, batch norm, dropout, global average pooling, a linear layer."""
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 12, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(12, 16, 3, 2, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(16, CLASSES),
    )
    names = [f"kind {index}" for index in range(CLASSES)]
    return Classifier(network, preprocessing=Preprocessing.imagenet(size), class_names=names)


def tiny_timm(name: str, size: int, **options: Any) -> Classifier:
    torch.manual_seed(1)
    return load_classifier(
        f"timm/{name}",
        "none",
        image_size=size,
        network_options={"num_classes": CLASSES, **options},
        weights_seed=1,
    )


def tiny_torchvision_vit() -> Classifier:
    """A torchvision Vision Transformer, whose head starts at zero and is drawn again here."""
    from torchvision.models import VisionTransformer

    torch.manual_seed(1)
    network = VisionTransformer(
        image_size=64, patch_size=16, num_layers=3, num_heads=3, hidden_dim=24, mlp_dim=48,
        num_classes=CLASSES,
    )  # fmt: skip
    nn.init.normal_(network.heads[-1].weight)  # type: ignore[arg-type]
    return Classifier(network, preprocessing=Preprocessing.imagenet(64))


def tiny_transformers_vit() -> Classifier:
    """A transformers Vision Transformer on images that are not square."""
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(1)
    config = ViTConfig(
        image_size=(48, 64), patch_size=16, num_hidden_layers=3, hidden_size=24,
        num_attention_heads=3, intermediate_size=48, num_labels=CLASSES, initializer_range=0.2,
    )  # fmt: skip
    preprocessing = dataclasses.replace(Preprocessing.imagenet(64), input_size=(48, 64))
    return Classifier(ViTForImageClassification(config), preprocessing=preprocessing)


VIT = {"embed_dim": 24, "depth": 4, "num_heads": 3}
SHALLOW = {**VIT, "depth": 2}
"""Of the variants: what they have of their own, they have in every block."""

TINY: dict[str, Callable[[], Classifier]] = {
    "cnn": tiny_cnn,
    "timm resnet": lambda: tiny_timm("resnet10t", 64, channels=(8, 12, 16, 24), stem_width=8),
    "timm vit": lambda: tiny_timm("vit_tiny_patch16_224", 64, **VIT),
    "timm vit, distilled": lambda: tiny_timm("deit_tiny_distilled_patch16_224", 64, **SHALLOW),
    "timm vit, registers": lambda: tiny_timm("vit_small_patch14_reg4_dinov2", 56, **SHALLOW),
    "timm vit, patches pooled": lambda: tiny_timm("vit_base_patch16_siglip_gap_224", 64, **SHALLOW),
    "torchvision vit": tiny_torchvision_vit,
    "transformers vit": tiny_transformers_vit,
    "timm swin": lambda: tiny_timm(
        "swin_tiny_patch4_window7_224",
        64,
        embed_dim=12,
        depths=(1, 1, 1),
        num_heads=(1, 2, 4),
        window_size=4,
    ),
}
"""Nine kinds of networks; every contract is checked on all of them."""
