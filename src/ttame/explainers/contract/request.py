"""What one call of an explainer asks for, and what the method answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from ttame.classifiers.explained_targets import ExplainedTargets, LinearTargets
from ttame.errors import ClassSelectionError
from ttame.explainers.contract.memory_budget import DEFAULT_BUDGET, Progress


@dataclasses.dataclass(frozen=True)
class Request:
    """What one call asks a method for.

    Attributes:
        targets: given the (B, C) scores of the images, what is to be explained of each; call it
            once, when the scores are known.
        memory_budget: bytes of activations that a method with many passes may hold at a time.
        progress: told the finished and total steps of a method with many passes.
        row_wise: whether some of the images have the targets that they would have alone, so that
            ``targets`` may be called once with the scores of each part of the batch, and then with
            those of all.
    """

    targets: Callable[[Tensor], ExplainedTargets]
    memory_budget: int = DEFAULT_BUDGET
    progress: Progress | None = None
    row_wise: bool = False

    def linear_targets(self, scores: Tensor) -> LinearTargets:
        """The targets, for a method whose card says that it takes no functions."""
        targets = self.targets(scores)
        if not isinstance(targets, LinearTargets):
            raise ClassSelectionError("a function as the target", allowed="classes or weightings")
        return targets

    def of_chosen(self, targets: ExplainedTargets) -> Request:
        """The same call where the targets are known already."""
        return dataclasses.replace(self, targets=lambda _scores: targets)


class RawMaps(NamedTuple):
    """What a method computes: scores (B, C), the B × K targets, and raw maps (B, K, h, w)."""

    scores: Tensor
    targets: ExplainedTargets
    maps: Tensor


def mixing_class_maps(
    images: Tensor, request: Request, explain: Callable[[Tensor, Request], RawMaps]
) -> RawMaps:
    """Explain weightings by a method that is defined for classes only.

    The map of a weighting is the weighted sum of the maps of its classes, each as the method
    defines it.

    Args:
        images: (B, 3, H, W).
        request: for classes or weightings.
        explain: makes the maps of classes.
    """
    asked: list[LinearTargets] = []

    def single_classes(scores: Tensor) -> ExplainedTargets:
        asked[:] = [request.linear_targets(scores)]
        return asked[0].single_classes()

    raw = explain(images, dataclasses.replace(request, targets=single_classes))
    return raw._replace(targets=asked[0], maps=asked[0].from_class_maps(raw.maps))
