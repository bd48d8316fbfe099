"""What a metric is given: images, maps, and ways to ask the network and the method again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ttame.errors import TtameError, setting
from ttame.images.preprocessing import Preprocessing
from ttame.metrics.shared_results import SharedResults

Probabilities = Callable[[Tensor], Tensor]
"""(B, 3, H, W) normalised images to (B, C) probabilities in [0, 1], the classifier's own: whether
classes exclude each other is the classifier's affair."""

Explain = Callable[[Tensor, Tensor], Tensor]
"""(B, 3, H, W) normalised images and (B,) classes to (B, h, w) raw maps of the same method."""


@dataclasses.dataclass(frozen=True, eq=False)
class MeasuringBatch:
    """Images with the maps of one method: what the functions of metrics are called with.

    A parameter of a metric's function that has the name of a field is given its value.

    Attributes:
        probabilities: the classifier's probabilities, without a graph.
        images: (B, 3, H, W) float, normalised.
        maps: (B, h, w) float32, raw.
        classes: (B,) int64, the explained classes.
        preprocessing: the classifier's own.
        explain: the method, for metrics that look at maps of changed images or other classes.
        numbers: the numbers of the images in the data set; what is drawn at random depends on them,
            not on the batch.
        exclusive: whether exactly one class is true of an image.
        targets: (B, H, W) bool, where the explained class's object is; ``None`` without
            annotations. An image without annotation is False everywhere.
        shared: what several metrics need, computed once.
        judge: the probabilities of a second classifier with the same classes, of the same
            normalised images; ``None`` if there is none.

    Example:
        >>> batch = MeasuringBatch(
        ...     probabilities=lambda images: images.mean(dim=(2, 3)),
        ...     images=torch.zeros(2, 3, 8, 8),
        ...     maps=torch.rand(2, 4, 4),
        ...     classes=torch.tensor([0, 2]),
        ...     preprocessing=Preprocessing.imagenet(8),
        ...     explain=lambda images, classes: images[:, 0],
        ...     numbers=(0, 1))
        >>> batch.size, batch.arguments()["targets"].any()
        ((8, 8), tensor(False))
    """

    probabilities: Probabilities
    images: Tensor
    maps: Tensor
    classes: Tensor
    preprocessing: Preprocessing
    explain: Explain
    numbers: tuple[int, ...]
    exclusive: bool = True
    targets: Tensor | None = None
    shared: SharedResults = dataclasses.field(default_factory=SharedResults, repr=False)
    judge: Probabilities | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the images in pixels."""
        return int(self.images.shape[2]), int(self.images.shape[3])

    def by_judge(self) -> MeasuringBatch:
        """The same batch, with the probabilities of the second classifier.

        Raises:
            TtameError: there is none.
        """
        if self.judge is None:
            raise TtameError("no second classifier that judges", remedy=setting("judge"))
        return dataclasses.replace(self, probabilities=self.judge)

    def arguments(self) -> dict[str, Any]:
        """The fields by name; targets on the images' device, nowhere if data are not annotated."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if self.targets is None:
            nowhere = torch.zeros_like(self.images[:, 0], dtype=torch.bool)
            return {**fields, "targets": nowhere}
        return {**fields, "targets": self.targets.to(self.images.device)}


ARGUMENTS = frozenset(field.name for field in dataclasses.fields(MeasuringBatch))
"""What a function of a metric may ask for by name, besides settings of the protocol."""


def of_classes(probabilities: Tensor, classes: Tensor) -> Tensor:
    """The probability of each row's own class.

    Args:
        probabilities: (B, C).
        classes: (B,) int64.

    Returns:
        (B,).
    """
    return probabilities.gather(1, classes[:, None]).squeeze(1)
