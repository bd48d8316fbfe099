"""What is explained of a batch, once its scores are known."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ttame.errors import ClassSelectionError

Rows = slice | Tensor
"""Some images of a batch: a slice, or int64 numbers, which may repeat."""


@dataclasses.dataclass(frozen=True, eq=False)
class ExplainedTargets(ABC):
    """K targets for each image of a batch.

    Attributes:
        classes: (B, K) int64. For a target that is not a class, the class that stands for it:
            that of the largest weight, or the image's top-1 class for a function.
        labels: for each image K labels for people; empty where the targets are the classes.
    """

    classes: Tensor
    labels: tuple[tuple[str, ...], ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """(B, K)."""
        return (self.classes.shape[0], self.classes.shape[1])

    @property
    def device(self) -> torch.device:
        """Where the scores were, and where the maps will be."""
        return self.classes.device

    @abstractmethod
    def of(self, scores: Tensor) -> Tensor:
        """The targets' values.

        Args:
            scores: (B, C) scores, or whatever else there is one of per class; of the same images.

        Returns:
            (B, K), in the dtype of the scores and in their graph.
        """

    @abstractmethod
    def of_probabilities(self, scores: Tensor, probabilities: Callable[[Tensor], Tensor]) -> Tensor:
        """The targets' values where a method asks for probabilities instead of scores.

        Classes and weightings are of the probabilities. A function always gets the scores that it
        was written for.

        Args:
            scores: (B, C).
            probabilities: makes (B, C) probabilities of the scores.
        """

    @abstractmethod
    def __getitem__(self, rows: Rows) -> ExplainedTargets:
        """The same targets of some images, in any order; labels are left behind."""

    @abstractmethod
    def columns(self, some: slice) -> ExplainedTargets:
        """Some of the K targets of every image; labels are left behind."""

    def repeated(self, times: int) -> ExplainedTargets:
        """For (times · B, C) scores of variants: the whole batch, ``times`` times over."""
        return self[torch.arange(len(self.classes), device=self.device).repeat(times)]


@dataclasses.dataclass(frozen=True, eq=False)
class LinearTargets(ExplainedTargets):
    """Targets that are linear in what there is one of per class."""

    @abstractmethod
    def mix(self, rows: Tensor) -> Tensor:
        """Turn (C, ...), one row per class, into (B, K, ...), one row per target."""

    @abstractmethod
    def single_classes(self) -> ExplainedClasses:
        """The classes whose maps the targets are weighted sums of, U for each image."""

    @abstractmethod
    def from_class_maps(self, maps: Tensor) -> Tensor:
        """Turn (B, U, ...) maps of :meth:`single_classes` into (B, K, ...) maps of the targets."""


@dataclasses.dataclass(frozen=True, eq=False)
class ExplainedClasses(LinearTargets):
    """Single classes.

    Example:
        >>> targets = ExplainedClasses(torch.tensor([[2, 0]]))
        >>> targets.of(torch.tensor([[0.1, 0.2, 0.7]]))
        tensor([[0.7000, 0.1000]])
    """

    def of(self, scores: Tensor) -> Tensor:
        """The scores of the classes."""
        return scores.gather(1, self.classes)

    def of_probabilities(self, scores: Tensor, probabilities: Callable[[Tensor], Tensor]) -> Tensor:
        """The probabilities of the classes."""
        return self.of(probabilities(scores))

    def mix(self, rows: Tensor) -> Tensor:
        """The rows of the classes."""
        return rows[self.classes]

    def single_classes(self) -> ExplainedClasses:
        """These."""
        return self

    def from_class_maps(self, maps: Tensor) -> Tensor:
        """The maps as they are."""
        return maps

    def __getitem__(self, rows: Rows) -> ExplainedClasses:
        return ExplainedClasses(self.classes[rows])

    def columns(self, some: slice) -> ExplainedClasses:
        """Some of the classes."""
        return ExplainedClasses(self.classes[:, some])


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ExplainedWeightings(LinearTargets):
    """Weighted sums over all classes.

    Attributes:
        weights: (B, K, C) float32.

    Example:
        >>> weights = torch.tensor([[[1.0, -1.0, 0.0]]])
        >>> targets = ExplainedWeightings(torch.tensor([[0]]), weights=weights)
        >>> targets.of(torch.tensor([[5.0, 3.0, 9.0]]))
        tensor([[2.]])
        >>> targets.single_classes().classes
        tensor([[0, 1]])
    """

    weights: Tensor

    def of(self, scores: Tensor) -> Tensor:
        """The weighted sums of the scores."""
        return (self.weights.to(scores) * scores[:, None]).sum(dim=2)

    def of_probabilities(self, scores: Tensor, probabilities: Callable[[Tensor], Tensor]) -> Tensor:
        """The weighted sums of the probabilities."""
        return self.of(probabilities(scores))

    def mix(self, rows: Tensor) -> Tensor:
        """The weighted sums of the rows."""
        return torch.einsum("bkc,c...->bk...", self.weights.to(rows), rows)

    def single_classes(self) -> ExplainedClasses:
        """Every class that has a weight in one of the targets of one of the images."""
        return ExplainedClasses(self._weighted.expand(len(self.classes), -1))

    def from_class_maps(self, maps: Tensor) -> Tensor:
        """The weighted sums of the classes' maps."""
        weights = self.weights[:, :, self._weighted].to(maps)
        return torch.einsum("bku,bu...->bk...", weights, maps)

    @property
    def _weighted(self) -> Tensor:
        return self.weights.ne(0).any(dim=0).any(dim=0).nonzero().flatten()

    def __getitem__(self, rows: Rows) -> ExplainedWeightings:
        return ExplainedWeightings(self.classes[rows], weights=self.weights[rows])

    def columns(self, some: slice) -> ExplainedWeightings:
        """Some of the weightings."""
        return ExplainedWeightings(self.classes[:, some], weights=self.weights[:, some])


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ExplainedFunctions(ExplainedTargets):
    """The values of a function of the scores.

    Attributes:
        function: (n, C) scores of any n images to (n,) or (n, K) values.
        name: for error messages.
        first: the first of the function's values that is meant; K of them are.
    """

    function: Callable[[Tensor], Any]
    name: str
    first: int = 0

    def of(self, scores: Tensor) -> Tensor:
        """What the function returns, (B, K).

        Raises:
            ClassSelectionError: its shape does not fit, or it has no gradient where one is needed.
        """
        values = function_values(self.function, scores, self.name)
        return values[:, self.first : self.first + self.classes.shape[1]]

    def of_probabilities(self, scores: Tensor, probabilities: Callable[[Tensor], Tensor]) -> Tensor:
        """What the function makes of the scores."""
        del probabilities
        return self.of(scores)

    def __getitem__(self, rows: Rows) -> ExplainedFunctions:
        return dataclasses.replace(self, classes=self.classes[rows], labels=())

    def columns(self, some: slice) -> ExplainedFunctions:
        """Some of the function's values."""
        first = self.first + some.indices(self.classes.shape[1])[0]
        return dataclasses.replace(self, classes=self.classes[:, some], labels=(), first=first)


def function_values(function: Callable[[Tensor], Any], scores: Tensor, name: str) -> Tensor:
    """Call a target function and check what it returns.

    Args:
        function: (n, C) scores to (n,) or (n, K) values.
        scores: (n, C).
        name: for error messages.

    Returns:
        (n, K).

    Raises:
        ClassSelectionError: its shape does not fit, or it has no gradient where one is needed.
    """
    values = function(scores)
    if isinstance(values, Tensor) and values.ndim == 1:
        values = values[:, None]
    count = len(scores)
    if not isinstance(values, Tensor) or values.ndim != 2 or len(values) != count:
        came = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ClassSelectionError(
            f"the target function {name} returned {came} for {count} images",
            allowed=f"a tensor of shape ({count},) or ({count}, K): values of each image",
        )
    if torch.is_grad_enabled() and scores.requires_grad and not values.requires_grad:
        raise ClassSelectionError(
            f"the values of the target function {name} have no gradient",
            allowed="torch operations on the scores, without detach() or NumPy",
        )
    return values
