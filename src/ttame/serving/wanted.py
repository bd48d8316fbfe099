"""What is to be explained of one photo of a batch, and of all photos of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from ttame.classifiers.targets import Target


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What one request wants explained; either of ``top``, ``classes`` and ``weights`` is said.

    Attributes:
        top: the most probable classes, so many.
        classes: indices.
        rather_than: index of the class that they are compared with.
        weights: C weights of the class scores.
    """

    top: int = 0
    classes: tuple[int, ...] = ()
    rather_than: int | None = None
    weights: tuple[float, ...] = ()

    @property
    def key(self) -> Hashable:
        """Photos with equal keys may be explained in one batch.

        Example:
            >>> Wanted(classes=(3, 4)).key == Wanted(classes=(7, 1)).key
            True
        """
        compared = self.rather_than is not None
        return (self.top, len(self.classes), compared, bool(self.weights))


def selection_of(batch: Sequence[Wanted]) -> str | Tensor:
    """The classes of a batch: ``"top3"`` and the like, or (B, K) int64.

    Example:
        >>> selection_of([Wanted(classes=(3, 4)), Wanted(classes=(7, 1))])
        tensor([[3, 4],
                [7, 1]])
    """
    if batch[0].top:
        return f"top{batch[0].top}"
    return torch.tensor([wanted.classes for wanted in batch])


def target_of(batch: Sequence[Wanted]) -> Target:
    """The target of a batch of equal keys.

    Example:
        >>> target_of([Wanted(top=2, rather_than=1)]).kind
        'weightings'
    """
    if batch[0].weights:
        return Target.weights(torch.tensor([wanted.weights for wanted in batch]))
    if batch[0].rather_than is None:
        return Target.of(selection_of(batch))
    others = torch.tensor([[wanted.rather_than] for wanted in batch])
    return Target.contrast(selection_of(batch), others)
