"""What explanations of anything say about classes: their names and probabilities."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ttame.errors import ClassSelectionError

FOUND_FROM = 0.5
"""The probability from which one of several independent findings counts as found."""


class Prediction:
    """The part of an explanation that is about classes, whatever was classified.

    What an explanation is of is the affair of its kinds, which are frozen dataclasses.

    Attributes:
        maps: (B, K, ...) float32, what was found of each explained class.
        logits: (B, C) float32.
        classes: (B, K) int64, the explained classes.
        probabilities: (B, C) float32 in [0, 1].
        class_names: C names, or empty.
        exclusive: whether exactly one class is true.
        target_labels: for each of the B, K labels of what is explained; empty where it is classes.
    """

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    maps: Tensor
    logits: Tensor
    classes: Tensor
    probabilities: Tensor
    class_names: tuple[str, ...]
    exclusive: bool
    target_labels: tuple[tuple[str, ...], ...]

    @property
    def class_probabilities(self) -> Tensor:
        """(B, K) float32 in [0, 1]: the probabilities of the explained classes."""
        return self.probabilities.gather(1, self.classes)

    def found(self, threshold: float = FOUND_FROM) -> Tensor:
        """(B, C) bool: which classes the classifier says are true.

        Where exactly one class is true, it is the most probable one, whatever its probability. Of
        independent findings it is each one from a probability of ``threshold`` on; where a row is
        false everywhere, it is none of them.

        Example:
            >>> import torch
            >>> from ttame.results.explanation import Explanation
            >>> explanation = Explanation(
            ...     maps=torch.rand(2, 1, 7, 7), classes=torch.tensor([[1], [1]]),
            ...     logits=torch.tensor([[2.0, 1.0], [-2.0, -1.0]]), image_size=(224, 224),
            ...     probabilities=torch.tensor([[0.9, 0.7], [0.1, 0.3]]), exclusive=False)
            >>> explanation.found().tolist(), explanation.found(0.8)[0].tolist()
            ([[True, True], [False, False]], [True, False])
        """
        if self.exclusive:
            return one_hot(self.probabilities.argmax(dim=1), self.probabilities.shape[1]).bool()
        return self.probabilities >= threshold

    def class_label(self, index: int) -> str:
        """The name of class ``index``, or ``"class 7"`` if the classifier has no names."""
        return self.class_names[index] if self.class_names else f"class {index}"

    def target_label(self, image: int, place: int) -> str:
        """What map ``place`` of an image or text explains: a class's name, or a target in words.

        Example:
            >>> import torch
            >>> from ttame.results.explanation import Explanation
            >>> explanation = Explanation(
            ...     maps=torch.rand(1, 1, 7, 7), classes=torch.tensor([[1]]),
            ...     logits=torch.tensor([[0.0, 1.0]]), image_size=(224, 224),
            ...     class_names=("cat", "dog"))
            >>> explanation.target_label(0, 0)
            'dog'
        """
        if self.target_labels:
            return self.target_labels[image][place]
        return self.class_label(int(self.classes[image, place]))

    def to(self, device: torch.device | str) -> Self:
        """Return the same explanation with its tensors on ``device``."""
        return dataclasses.replace(
            self,
            maps=self.maps.to(device),
            classes=self.classes.to(device),
            logits=self.logits.to(device),
            probabilities=self.probabilities.to(device),
        )

    def _fields(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def place_of_class(labels: Sequence[str], class_: int | str) -> int:
    """Where a class stands among the explained ones.

    Args:
        labels: the labels of the explained ones.
        class_: its place, from the end if negative, or its label.

    Raises:
        ClassSelectionError: it was not explained.

    Example:
        >>> place_of_class(["cat", "dog"], "dog"), place_of_class(["cat", "dog"], -2)
        (1, 0)
    """
    count = len(labels)
    if isinstance(class_, str) and class_ in labels:
        return labels.index(class_)
    if isinstance(class_, int) and -count <= class_ < count:
        return class_ % count
    named = ", ".join(labels[:5]) + (" ..." if count > 5 else "")
    raise ClassSelectionError(
        f"class_={class_!r}, which was not explained",
        allowed=f"0 to {count - 1}, places among the explained classes ({named}), or a name",
    )
