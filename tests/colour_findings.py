"""A network of independent findings whose answers are known by hand."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ttame.classifiers.classifier import Classifier
from ttame.images.preprocessing import Preprocessing

COLOURS = ("red", "green", "blue")
SIDE = 64


class ColourFindings(nn.Module):
    """Logit of colour k: ten times the share of the picture that has it, minus 3."""

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Conv2d(3, 8, 1, bias=False)
        self.pool = nn.AvgPool2d(4)
        self.fc = nn.Linear(8, 3)
        with torch.no_grad():
            self.see.weight.zero_()
            self.fc.weight.zero_()
            self.fc.bias.fill_(-3)
            for k in range(3):
                self.see.weight[k, k] = 1
                self.fc.weight[k, k] = 10

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(torch.relu(self.pool(self.see(images))).mean((2, 3)))
        return logits


def colour_classifier(outputs: str = "sigmoid") -> Classifier:
    """Sees pixels as they are, in [0, 1]."""
    preprocessing = Preprocessing((SIDE, SIDE), (SIDE, SIDE), mean=(0, 0, 0), std=(1, 1, 1))
    return Classifier(
        ColourFindings().eval(),
        preprocessing=preprocessing,
        class_names=COLOURS,
        taps=["pool"],
        outputs=outputs,
    )


def red_and_green(red: int = 40) -> Tensor:
    """(3, 64, 64) uint8: so many columns are red, the others green."""
    picture = torch.zeros(3, SIDE, SIDE, dtype=torch.uint8)
    picture[0, :, :red] = 255
    picture[1, :, red:] = 255
    return picture


def finding(share: float) -> float:
    """The probability of a colour that has this share of the picture."""
    return 1 / (1 + math.exp(3 - 10 * share))
