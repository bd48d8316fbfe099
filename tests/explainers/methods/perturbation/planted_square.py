"""A network that looks at one part of the picture and nowhere else."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ttame.classifiers.classifier import Classifier
from ttame.images.preprocessing import Preprocessing

SIDE = 32
WHERE = (slice(4, 14), slice(16, 26))
"""Rows and columns that decide about class 0; class 1 is decided elsewhere."""


class Squares(nn.Module):
    """How much neighbouring pixels differ: in the square for class 0, on the left for class 1."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(6.0))

    def forward(self, images: Tensor) -> Tensor:
        differences = (images[..., 1:] - images[..., :-1]).square().mean(dim=1)
        square = differences[:, WHERE[0], WHERE[1]].mean(dim=(1, 2))
        left = differences[:, 18:, :12].mean(dim=(1, 2))
        return torch.stack([square, left, torch.ones_like(left)], dim=1) * self.scale


def planted() -> tuple[Classifier, Tensor, Tensor]:
    """The network, two noisy images, and (32, 32) bool: the square."""
    plain = Preprocessing((SIDE, SIDE), (SIDE, SIDE))
    images = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    square = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    square[WHERE] = True
    return Classifier(Squares(), preprocessing=plain, taps=()), images, square
