"""Networks of a few layers that the tests of this room share."""

from __future__ import annotations

from torch import Tensor, nn

from ttame.images.preprocessing import Preprocessing

SMALL = Preprocessing.imagenet(32)


def small_cnn(classes: int = 5) -> nn.Sequential:
    """Two stages with batch norm and dropout: 16x16 after layer 3, 8x8 after layer 5."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1),
        nn.BatchNorm2d(8),
        nn.Dropout(0.5),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, 2, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, classes),
    )


class Answering(nn.Module):
    """A small CNN whose logits come back in whatever wrapping the test wants."""

    def __init__(self, wrap: object) -> None:
        super().__init__()
        self.body = small_cnn()
        self.wrap = wrap

    def forward(self, images: Tensor) -> object:
        return self.wrap(self.body(images))  # type: ignore[operator]


class Flattening(nn.Module):
    """Flattens with ``view``, which refuses channels-last features."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.stage = nn.Conv2d(8, 16, 3, 2, 1)
        self.head = nn.Linear(16 * 8 * 8, 5)

    def forward(self, images: Tensor) -> Tensor:
        features = self.stage(self.stem(images).relu())
        logits: Tensor = self.head(features.view(len(images), -1))
        return logits
