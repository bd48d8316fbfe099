"""Maps in two steps: one pass of a network, and what is made of what it gave."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from ttame.classifiers.classifier import Classifier


class Read(NamedTuple):
    """What one pass of the network gave: scores (B, C), and tensors that maps are made of."""

    scores: Tensor
    tensors: tuple[Tensor, ...]


class MapSource(nn.Module, ABC):
    """The maps of a method in two steps: a pass of the network, and what is made of it.

    The first step may use hooks, and is there to be recorded. The second one is an ordinary module,
    which holds the weights that are not the network's.

    Args:
        classifier: on a copy of the network that nobody else uses.
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classes = classifier.number_of_classes

    @abstractmethod
    def read(self, classifier: Classifier, images: Tensor) -> Read:
        """Run the network once.

        Args:
            classifier: as passed when this was made.
            images: (B, 3, H, W) float, normalised.
        """

    @abstractmethod
    def forward(self, tensors: Sequence[Tensor], classes: Tensor | None) -> Tensor:
        """Maps (B, K, h, w) float32 of classes (B, K), or of all classes in their order."""
