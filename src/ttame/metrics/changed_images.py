"""Ask the network about many changed versions of the same images."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from ttame.metrics.measuring_batch import Probabilities, of_classes

Score = Callable[[Tensor, Tensor], Tensor]
"""(N, C) probabilities and (N,) classes to (N,) numbers in percent."""

# On a CPU larger batches are no faster; elsewhere small ones leave the device idle.
_IMAGES_AT_A_TIME = {"cpu": 16}
_IMAGES_AT_A_TIME_ELSEWHERE = 128


def still_top_1(probabilities: Tensor, classes: Tensor) -> Tensor:
    """100 where the class is the network's top-1, otherwise 0.

    Example:
        >>> still_top_1(torch.tensor([[0.4, 0.6], [0.3, 0.7]]), torch.tensor([1, 0]))
        tensor([100.,   0.])
    """
    return 100 * (probabilities.argmax(dim=1) == classes).float()


def still_found(probabilities: Tensor, classes: Tensor) -> Tensor:
    """100 where the class's own probability is at least one half, otherwise 0.

    What "top-1" is among classes of which one is true: of independent findings another one may be
    more probable without taking anything from this one.

    Example:
        >>> still_found(torch.tensor([[0.6, 0.9], [0.4, 0.1]]), torch.tensor([0, 0]))
        tensor([100.,   0.])
    """
    return 100 * (of_classes(probabilities, classes) >= 0.5).float()


def accuracy(*, exclusive: bool) -> Score:
    """Whether the network still gives the class: as top-1, or as one of independent findings."""
    return still_top_1 if exclusive else still_found


def probability_of_class(probabilities: Tensor, classes: Tensor) -> Tensor:
    """The class's own probability in percent.

    Example:
        >>> probability_of_class(torch.tensor([[0.25, 0.75]]), torch.tensor([1]))
        tensor([75.])
    """
    return 100 * of_classes(probabilities, classes).float()


def scores_of_versions(
    probabilities: Probabilities, versions: Iterable[Tensor], classes: Tensor, score: Score
) -> Tensor:
    """Score several changed versions of a batch of images.

    Args:
        probabilities: (B, 3, H, W) normalised images to (B, C) probabilities in [0, 1].
        versions: V batches of images (B, 3, H, W), normalised, made one at a time as they are
            asked for, so that few of them are in memory.
        classes: (B,) int64.
        score: probabilities to numbers.

    Returns:
        (B, V) float32.

    Example:
        >>> images = torch.zeros(1, 3, 2, 2)
        >>> def probabilities(images):
        ...     return torch.stack([images.mean((1, 2, 3)), 1 - images.mean((1, 2, 3))], dim=1)
        >>> versions = (images + share for share in (0.25, 0.5))
        >>> scores_of_versions(probabilities, versions, torch.tensor([0]), probability_of_class)
        tensor([[25., 50.]])
    """
    columns: list[Tensor] = []
    waiting: list[Tensor] = []
    limit = _IMAGES_AT_A_TIME.get(classes.device.type, _IMAGES_AT_A_TIME_ELSEWHERE)

    def ask() -> None:
        answers = [probabilities(part) for part in torch.split(torch.cat(waiting), limit)]
        scores = score(torch.cat(answers), classes.repeat(len(waiting)))
        columns.extend(scores.reshape(len(waiting), len(classes)))
        waiting.clear()

    for version in versions:
        waiting.append(version)
        if (len(waiting) + 1) * len(classes) > limit:
            ask()
    if waiting:
        ask()
    return torch.stack(columns, dim=1)
