"""What a metric is given: images, maps, and ways to ask the network and the method again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeVar, cast

from torch import Tensor

from ttame.preprocessing import Preprocessing

Probabilities = Callable[[Tensor], Tensor]
"""(B, 3, H, W) normalised images to (B, C) probabilities."""

Explain = Callable[[Tensor, Tensor], Tensor]
"""(B, 3, H, W) normalised images and (B,) classes to (B, h, w) raw maps of the same method."""

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, eq=False)
class MeasuringBatch:
    """Images with the maps of one method.

    Attributes:
        probabilities: the classifier's softmax output, without a graph.
        images: (B, 3, H, W) float, normalised.
        maps: (B, h, w) float32, raw.
        classes: (B,) int64, the explained classes.
        preprocessing: the classifier's own.
        explain: the method, for metrics that look at maps of changed images.
        numbers: of the images in the data set; what is drawn at random depends on them, not on
            the batch.
        targets: (B, H, W) bool, where the explained class's object is; ``None`` without
            annotations. An image without annotation is False everywhere.

    Example:
        >>> import torch
        >>> batch = MeasuringBatch(
        ...     probabilities=lambda images: images.mean(dim=(2, 3)).softmax(dim=1),
        ...     images=torch.zeros(2, 3, 8, 8),
        ...     maps=torch.rand(2, 4, 4),
        ...     classes=torch.tensor([0, 2]),
        ...     preprocessing=Preprocessing.imagenet(8),
        ...     explain=lambda images, classes: images[:, 0],
        ...     numbers=(0, 1))
        >>> batch.before
        tensor([0.3333, 0.3333])
    """

    probabilities: Probabilities
    images: Tensor
    maps: Tensor
    classes: Tensor
    preprocessing: Preprocessing
    explain: Explain
    numbers: tuple[int, ...]
    targets: Tensor | None = None
    _remembered: dict[object, object] = dataclasses.field(default_factory=dict, repr=False)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the images in pixels."""
        return int(self.images.shape[2]), int(self.images.shape[3])

    def once(self, key: object, compute: Callable[[], T]) -> T:
        """Compute something for all metrics of the batch together.

        Args:
            key: names what is computed, with everything it depends on besides the batch.
            compute: is called the first time.
        """
        if key not in self._remembered:
            self._remembered[key] = compute()
        return cast("T", self._remembered[key])

    @property
    def all_before(self) -> Tensor:
        """(B, C) probabilities of the images as they are."""
        return self.once("before", lambda: self.probabilities(self.images))

    @property
    def before(self) -> Tensor:
        """(B,) probabilities of the explained classes on the images as they are."""
        return of_classes(self.all_before, self.classes)


def of_classes(probabilities: Tensor, classes: Tensor) -> Tensor:
    """The probability of each row's own class.

    Args:
        probabilities: (B, C).
        classes: (B,) int64.

    Returns:
        (B,).
    """
    return probabilities.gather(1, classes[:, None]).squeeze(1)
