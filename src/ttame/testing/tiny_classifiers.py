"""Classifiers that run in milliseconds."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import nn

from ttame.classifiers.classifier import Classifier
from ttame.errors import UnknownNameError
from ttame.images.preprocessing import Preprocessing

Kind = Literal["cnn", "vit"]


def tiny_classifier(kind: Kind = "cnn", *, size: int = 16, classes: int = 5) -> Classifier:
    """A classifier with random weights, the same in every call.

    Args:
        kind: ``"cnn"`` (two convolutions, taps on a half and a quarter of the image's size) or
            ``"vit"`` (two blocks on patches of 16 pixels, with a class token).
        size: height and width of its images in pixels; a multiple of 16 for ``"vit"``.
        classes: C, the number of logits.

    Raises:
        UnknownNameError: no such kind.

    Example:
        >>> tiny_classifier()
        <Classifier tiny cnn: 5 classes, taps 1, 3>
        >>> tiny_classifier("vit", size=32, classes=3)
        <Classifier tiny vit: 3 classes, taps blocks.0.norm1, blocks.1.norm1>
    """
    if kind not in get_args(Kind):
        raise UnknownNameError(f"no tiny classifier {kind!r}", allowed=", ".join(get_args(Kind)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = _cnn(classes) if kind == "cnn" else _vit(size, classes)
    preprocessing = Preprocessing.imagenet(size)
    return Classifier(network, preprocessing=preprocessing, name=f"tiny {kind}")


def _cnn(classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, classes),
    )  # fmt: skip


def _vit(size: int, classes: int) -> nn.Module:
    from timm.models import VisionTransformer

    network: nn.Module = VisionTransformer(
        img_size=size, patch_size=16, embed_dim=24, depth=2, num_heads=3, num_classes=classes
    )
    return network
