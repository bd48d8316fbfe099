"""What an evaluation is of: the same for all of its methods."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol as TypingProtocol

from PIL import Image
from torch import Tensor

from ttame.classifiers.classifier import Classifier
from ttame.datasets.photo_source import PhotoSource
from ttame.errors import EvaluationError, setting
from ttame.explainers.contract.memory_budget import DEFAULT_BUDGET
from ttame.metrics.metric import Metric
from ttame.metrics.protocol import Protocol

Targets = Callable[[str, int, Image.Image], Tensor | None]
"""Key of a photo, class, and the photo, to the (H, W) bool target in the network's view."""


class Listener(TypingProtocol):
    """Told how far an evaluation is."""

    def begin(self, method: str, images: int, finished: int) -> None:
        """A method starts on all ``images``, of which some were finished in an earlier run."""

    def step(self, finished: int, total: int) -> None:
        """A method with many passes has finished some of them."""

    def measured(self, images: int) -> None:
        """A batch of images is explained, measured and written."""

    def randomising(self, method: str) -> None:
        """The network is randomised under a method, to see whether its maps change."""


def spread(total: int, limit: int | None) -> Sequence[int]:
    """The numbers of the images that are evaluated: all, or as many as wanted, evenly spread.

    A sorted folder has its classes one after the other; its first images would be of one class.

    Raises:
        EvaluationError: a limit below 1.

    Example:
        >>> spread(10, 4), spread(3, 100)
        ([0, 2, 5, 7], range(0, 3))
    """
    if limit is not None and limit < 1:
        raise EvaluationError(f"{setting('limit', limit)}", allowed="1 or more")
    if limit is None or limit >= total:
        return range(total)
    count = limit
    return [index * total // count for index in range(count)]


def checked_batch_size(batch_size: int) -> int:
    """The same number.

    Raises:
        EvaluationError: it is below 1.
    """
    if batch_size < 1:
        raise EvaluationError(setting("batch_size", batch_size), allowed="1 or more")
    return batch_size


@dataclasses.dataclass(frozen=True)
class Measuring:
    """Everything that is the same for all methods of an evaluation.

    Attributes:
        classifier: the explained network.
        photos: the data.
        numbers: the numbers of the images that are evaluated.
        protocol: how to measure.
        metrics: what to measure.
        batch_size: images at a time.
        folder: where rows and maps go.
        targets: where the annotated objects are, if the data are annotated.
        memory_budget: activations that a method with many passes may hold at a time.
        judge: a second classifier, whose probabilities judged metrics ask for.
    """

    classifier: Classifier
    photos: PhotoSource
    numbers: Sequence[int]
    protocol: Protocol
    metrics: Sequence[Metric]
    batch_size: int
    folder: Path
    targets: Targets | None = None
    memory_budget: str | int = DEFAULT_BUDGET
    judge: Classifier | None = None
