"""What is to be explained: classes, weightings of class scores, or functions of them."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ttame.classifiers.class_selection import ClassSelection, select_classes
from ttame.classifiers.explained_targets import (
    ExplainedClasses,
    ExplainedFunctions,
    ExplainedTargets,
    ExplainedWeightings,
    function_values,
)
from ttame.errors import ClassSelectionError

TargetKind = Literal["classes", "weightings", "functions"]
"""What a method's card says that it takes."""

_TERMS_IN_WORDS = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Target(ABC):
    """What a map is to explain; made by one of the four functions below.

    A class is the special case of a weighting that is 1 for that class, and a weighting that of a
    function. Which of them a method takes is on its card.

    Example:
        >>> import ttame
        >>> classifier = ttame.load_classifier("efficientnet_lite0")
        >>> grad_cam = ttame.make_explainer("grad_cam", classifier)
        >>> contrast = Target.contrast("tabby", "tiger cat")
        >>> explanation = grad_cam(torch.zeros(1, 3, 224, 224), target=contrast)
        >>> explanation.target_label(0, 0)
        'tabby rather than tiger cat'
    """

    kind: ClassVar[TargetKind]

    @property
    def is_row_wise(self) -> bool:
        """Whether some images of a batch have the targets that they would have alone."""
        return False

    @staticmethod
    def of(classes: ClassSelection = None) -> Target:
        """Classes, in every form of ``classes=``.

        Args:
            classes: see :func:`ttame.classifiers.class_selection.select_classes`.
        """
        return _Classes(classes)

    @staticmethod
    def contrast(classes: ClassSelection, rather_than: ClassSelection) -> Target:
        """What speaks for some classes rather than another: the difference of their scores.

        Args:
            classes: +1; a name, an index, or any other form of ``classes=``.
            rather_than: −1; one class, or as many as there are in ``classes``.
        """
        return _Contrast(classes, rather_than)

    @staticmethod
    def weights(weights: Tensor, *, name: str = "") -> Target:
        """Weighted sums of the scores of all classes.

        Args:
            weights: (C,) for all images, (B, C), or (B, K, C) for K maps of each image.
            name: for people; the largest weights in words if not given.

        Raises:
            ClassSelectionError: not such a tensor, not finite, or nothing but zeros.

        Example:
            >>> Target.weights(torch.tensor([0.5, 0.5, -1.0])).kind
            'weightings'
        """
        return _Weights(_checked_weights(weights), name)

    @staticmethod
    def function(function: Callable[[Tensor], Tensor], *, name: str = "") -> Target:
        """Any function of the scores, for methods that differentiate or perturb.

        Args:
            function: (n, C) scores of any number n of images, with or without a graph, to (n,)
                values, or (n, K) for K maps of each image. An image's values may depend on its own
                scores only.
            name: for people; the function's own if not given.

        Example:
            >>> entropy = Target.function(
            ...     lambda scores: -(scores.softmax(1) * scores.log_softmax(1)).sum(1),
            ...     name="entropy")
            >>> entropy.kind
            'functions'
        """
        return _Function(function, name or getattr(function, "__name__", "the function"))

    @abstractmethod
    def explained(self, scores: Tensor, names: Sequence[str] = ()) -> ExplainedTargets:
        """The targets of a batch.

        Args:
            scores: (B, C) of its images.
            names: the C class names, if there are any.

        Raises:
            ClassSelectionError: a class that does not exist, or a shape that does not fit.
        """


@dataclasses.dataclass(frozen=True, eq=False)
class _Classes(Target):
    kind = "classes"
    classes: ClassSelection

    def __repr__(self) -> str:
        return f"Target.of({self.classes!r})"

    @property
    def is_row_wise(self) -> bool:
        """For the most probable classes, all, or the same for all images."""
        named = isinstance(self.classes, list) and all(isinstance(c, str) for c in self.classes)
        return self.classes is None or isinstance(self.classes, int | str) or named

    def explained(self, scores: Tensor, names: Sequence[str] = ()) -> ExplainedTargets:
        return ExplainedClasses(select_classes(self.classes, scores, names))


@dataclasses.dataclass(frozen=True, eq=False)
class _Contrast(Target):
    kind = "weightings"
    classes: ClassSelection
    rather_than: ClassSelection

    def __repr__(self) -> str:
        return f"Target.contrast({self.classes!r}, rather_than={self.rather_than!r})"

    def explained(self, scores: Tensor, names: Sequence[str] = ()) -> ExplainedTargets:
        wanted = select_classes(self.classes, scores, names)
        others = select_classes(self.rather_than, scores, names)
        if others.shape[1] not in (1, wanted.shape[1]):
            raise ClassSelectionError(
                f"{wanted.shape[1]} classes rather than {others.shape[1]}",
                allowed=f"one other class, or {wanted.shape[1]}",
            )
        others = others.expand_as(wanted)
        same = (wanted == others).nonzero()
        if len(same):
            image, place = same[0].tolist()
            label = _class_label(int(wanted[image, place]), names)
            raise ClassSelectionError(
                f"{label} rather than itself, for input {image} of the batch",
                allowed="two classes that differ",
            )
        count = scores.shape[1]
        weights = _one_hot(wanted, count) - _one_hot(others, count)
        labels = tuple(
            tuple(
                f"{_class_label(one, names)} rather than {_class_label(other, names)}"
                for one, other in zip(*pair, strict=True)
            )
            for pair in zip(wanted.tolist(), others.tolist(), strict=True)
        )
        return ExplainedWeightings(wanted, labels, weights=weights)


@dataclasses.dataclass(frozen=True, eq=False)
class _Weights(Target):
    kind = "weightings"
    weighting: Tensor
    name: str

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.weighting.shape))
        return f"<Target.weights: {self.name or 'a weighting'}, {shape}>"

    def explained(self, scores: Tensor, names: Sequence[str] = ()) -> ExplainedTargets:
        weights = self.weighting.to(scores.device)
        images, count = scores.shape
        if weights.ndim == 1:
            weights = weights.expand(images, -1)
        if weights.ndim == 2:
            weights = weights[:, None]
        if weights.shape[0] != images or weights.shape[2] != count:
            raise ClassSelectionError(
                f"weights of shape {tuple(self.weighting.shape)} for {images} images",
                allowed=f"({count},), ({images}, {count}) or ({images}, K, {count})",
            )
        labels = tuple(
            tuple(
                self._label(row, place, weights.shape[1], names) for place, row in enumerate(rows)
            )
            for rows in weights.tolist()
        )
        return ExplainedWeightings(_standing_for(weights), labels, weights=weights)

    def _label(self, row: list[float], place: int, count: int, names: Sequence[str]) -> str:
        if not self.name:
            return weighting_in_words(row, names)
        return self.name if count == 1 else f"{self.name} {place + 1}"


@dataclasses.dataclass(frozen=True, eq=False)
class _Function(Target):
    kind = "functions"
    compute: Callable[[Tensor], Any]
    name: str

    def __repr__(self) -> str:
        return f"<Target.function: {self.name}>"

    def explained(self, scores: Tensor, names: Sequence[str] = ()) -> ExplainedTargets:
        scores = scores.detach()
        values = function_values(self.compute, scores, self.name)
        alone = function_values(self.compute, scores[:1], self.name)
        if alone.shape[1] != values.shape[1] or not torch.allclose(
            alone.float(), values[:1].float(), rtol=1e-2, atol=1e-3, equal_nan=True
        ):
            raise ClassSelectionError(
                f"the target function {self.name} returns different values for an image alone and "
                "in a batch",
                allowed="values of each image that depend on its own scores only",
            )
        count = values.shape[1]
        labels = (self.name,) if count == 1 else tuple(f"{self.name} {k + 1}" for k in range(count))
        return ExplainedFunctions(
            scores.argmax(dim=1, keepdim=True).expand(-1, count),
            (labels,) * len(scores),
            function=self.compute,
            name=self.name,
        )


def weighting_in_words(weights: Sequence[float], names: Sequence[str] = ()) -> str:
    """The largest weights with their classes.

    Example:
        >>> weighting_in_words([1.0, -1.0, 0.0], ["cat", "dog", "hen"])
        'cat rather than dog'
        >>> weighting_in_words([0.5, 0.5, -1.0], ["cat", "dog", "hen"])
        '−1 hen + 0.5 cat + 0.5 dog'
    """
    terms = sorted(
        ((weight, index) for index, weight in enumerate(weights) if weight),
        key=lambda term: (-abs(term[0]), term[1]),
    )
    labelled = {weight: _class_label(index, names) for weight, index in terms}
    if len(terms) == 1 and terms[0][0] == 1:
        return labelled[1]
    if len(terms) == 2 and set(labelled) == {1, -1}:
        return f"{labelled[1]} rather than {labelled[-1]}"
    words = "".join(
        f" {'−' if weight < 0 else '+'} {abs(weight):.3g} {_class_label(index, names)}"
        for weight, index in terms[:_TERMS_IN_WORDS]
    )
    words = words.removeprefix(" + ").replace(" − ", "−", 1) if words[1] == "−" else words[3:]
    more = len(terms) - _TERMS_IN_WORDS
    return words + (f" and {more} more" if more > 0 else "")


def _class_label(index: int, names: Sequence[str]) -> str:
    return names[index] if names else f"class {index}"


def _one_hot(classes: Tensor, count: int) -> Tensor:
    return torch.nn.functional.one_hot(classes, count).float()


def _standing_for(weights: Tensor) -> Tensor:
    """The class of the largest weight; where none is positive, that of the smallest."""
    largest = weights.max(dim=2)
    return torch.where(largest.values > 0, largest.indices, weights.argmin(dim=2))


def _checked_weights(weights: Tensor) -> Tensor:
    if not isinstance(weights, Tensor) or not 1 <= weights.ndim <= 3 or weights.is_complex():
        came = tuple(weights.shape) if isinstance(weights, Tensor) else type(weights).__name__
        raise ClassSelectionError(
            f"weights {came}", allowed="a real tensor of shape (C,), (B, C) or (B, K, C)"
        )
    weights = weights.detach().float().clone()
    if not bool(weights.isfinite().all()):
        raise ClassSelectionError("weights with NaN or infinity", allowed="finite weights")
    if not weights.numel() or not bool(weights.ne(0).any(dim=-1).all()):
        raise ClassSelectionError(
            "weights that are 0 for every class", allowed="at least one class with a weight"
        )
    return weights
