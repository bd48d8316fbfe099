"""Networks that use a layer several times, or work in place on what a layer put out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ttame.classifiers.classifier import Classifier
from ttame.images.preprocessing import Preprocessing


class ReusedPool(nn.Module):
    """One max-pool and one ReLU after each of three convolutions."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = (
            nn.Conv2d(inputs, outputs, 3, 1, 1) for inputs, outputs in ((3, 8), (8, 16), (16, 32))
        )
        self.pool, self.relu, self.fc = nn.MaxPool2d(2), nn.ReLU(), nn.Linear(32, 4)

    def forward(self, images: Tensor) -> Tensor:
        for conv in (self.a, self.b, self.c):
            images = self.pool(self.relu(conv(images)))
        logits: Tensor = self.fc(images.mean((2, 3)))
        return logits


class ReusedRelu(nn.Module):
    """One ReLU after each of three convolutions with strides."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = (
            nn.Conv2d(inputs, outputs, 3, 2, 1) for inputs, outputs in ((3, 8), (8, 16), (16, 32))
        )
        self.relu, self.fc = nn.ReLU(), nn.Linear(32, 4)

    def forward(self, images: Tensor) -> Tensor:
        for conv in (self.a, self.b, self.c):
            images = self.relu(conv(images))
        logits: Tensor = self.fc(images.mean((2, 3)))
        return logits


class Mirrored(nn.Module):
    """Averages a network's answer over an image and its mirror image."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = (self.body(images) + self.body(images.flip(-1))) / 2
        return logits


class RectifiedByAFunction(nn.Module):
    """As DenseNet: a function rectifies the last layer's output, in place or not."""

    def __init__(self, *, in_place: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16)
        )
        self.fc = nn.Linear(16, 4)
        self.in_place = in_place

    def forward(self, images: Tensor) -> Tensor:
        features = F.relu(self.features(images), inplace=self.in_place)
        logits: Tensor = self.fc(features.mean((2, 3)))
        return logits


def classifier_of(
    network: nn.Module, size: int | tuple[int, int] = 32, taps: Sequence[str] | None = None
) -> Classifier:
    """A classifier of a network that is in eval mode already."""
    return Classifier(network, preprocessing=Preprocessing.imagenet(size), taps=taps)
