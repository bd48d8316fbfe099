"""What a map of pytorch-grad-cam is asked for, under the names of that library.

Example:
    >>> scores = torch.tensor([1.0, 3.0])
    >>> targets = ClassifierOutputTarget(1), ClassifierOutputSoftmaxTarget(1)
    >>> [f"{float(target(scores)):.3f}" for target in targets]
    ['3.000', '0.881']
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ttame.classifiers.targets import Target
from ttame.errors import ClassSelectionError, kind_of


@dataclasses.dataclass(frozen=True)
class ClassifierOutputTarget:
    """The raw score of one class.

    Attributes:
        category: its index.
    """

    category: int

    def __call__(self, output: Tensor) -> Tensor:
        """(C,) scores of an image to its value."""
        return output[..., self.category]


@dataclasses.dataclass(frozen=True)
class ClassifierOutputSoftmaxTarget:
    """The probability of one class: the softmax of the scores.

    Attributes:
        category: its index.
    """

    category: int

    def __call__(self, output: Tensor) -> Tensor:
        """(C,) scores of an image to its value."""
        return output.softmax(dim=-1)[..., self.category]


@dataclasses.dataclass(frozen=True)
class BinaryClassifierOutputTarget:
    """The single output of a network that says yes or no.

    Attributes:
        category: 1 for what speaks for yes, 0 for what speaks for no.
    """

    category: int

    def __call__(self, output: Tensor) -> Tensor:
        """The only number of an image, or its negative."""
        return output if self.category == 1 else -output


class RawScoresOutputTarget:
    """The single output of a network as it is, for instance of a regression."""

    def __call__(self, output: Tensor) -> Tensor:
        """The only number of an image."""
        return output


@dataclasses.dataclass(frozen=True, eq=False)
class SemanticSegmentationTarget:
    """The scores of one class, added over the pixels of a mask.

    Attributes:
        category: the index of the class.
        mask: (h, w) of 0 and 1, or weights, in the size of the network's output.
    """

    category: int
    mask: NDArray[Any] | Tensor

    def __call__(self, output: Tensor) -> Tensor:
        """(C, h, w) scores of an image to their sum."""
        mask = torch.as_tensor(self.mask).to(output)
        if mask.shape != output.shape[1:]:
            raise ClassSelectionError(
                f"a mask of {tuple(mask.shape)} for an output of {tuple(output.shape)}",
                allowed=f"a mask of {tuple(output.shape[1:])}",
            )
        return (output[self.category] * mask).sum()


ImageTarget = Callable[[Tensor], Tensor]
"""The output of one image, without the dimension of the batch, to one number."""


def classes_of(targets: Sequence[Any] | None) -> list[int] | None:
    """The classes that targets name; ``None`` if they are functions, or not given.

    Raises:
        ClassSelectionError: some are functions and others are not, or one is neither.

    Example:
        >>> classes_of([ClassifierOutputTarget(3), 5])
        [3, 5]
    """
    if targets is None or (len(targets) and all(map(_is_function, targets))):
        return None
    return [_category_of(target) for target in targets]


def _is_function(target: Any) -> bool:
    return callable(target) and type(target).__name__ != "ClassifierOutputTarget"


def _category_of(target: Any) -> int:
    category = None if _is_function(target) else getattr(target, "category", target)
    if isinstance(category, bool) or not isinstance(category, int | np.integer | Tensor):
        raise ClassSelectionError(
            f"{kind_of(target)} as target",
            allowed="for each image an int or ClassifierOutputTarget(281); or for each image a "
            "function of its output",
        )
    return int(category)


def target_of(function: ImageTarget, shape: tuple[int, ...]) -> Target:
    """A function of one image's output, as a target for an explainer of flat outputs.

    Args:
        function: see :data:`ImageTarget`.
        shape: the shape of one image's output.
    """

    def values(rows: Tensor) -> Tensor:
        return torch.stack([_one_number(function(row.reshape(shape)), function) for row in rows])

    name = getattr(function, "__name__", type(function).__name__)
    return Target.function(values, name=name)


def _one_number(value: Any, function: ImageTarget) -> Tensor:
    if not isinstance(value, Tensor) or value.numel() != 1:
        came = f"{value.numel()} numbers" if isinstance(value, Tensor) else type(value).__name__
        raise ClassSelectionError(
            f"a target, {type(function).__name__}, that gives {came} for an image",
            allowed="a tensor of one number",
        )
    return value.reshape(())
