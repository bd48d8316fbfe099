"""How many passes of a network a method takes."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from contextvars import ContextVar

from torch import Tensor

from ttame.networks.loans import Joining, Lent, Loan


@dataclasses.dataclass
class PassCount:
    """Images that went through a classifier.

    Attributes:
        forward: through the whole network, or its beginning.
        backward: back from the logits.
        tail: variants that only went through the end of the network.
    """

    forward: int = 0
    backward: int = 0
    tail: int = 0

    def note_forward(self, images: int, rows: int) -> None:
        """So many images went in, and so many rows of logits came out."""
        self.forward += images
        self.tail += max(0, rows - images)

    def note_backward(self, rows: int) -> None:
        """So many rows went back."""
        self.backward += rows


_counting: ContextVar[tuple[PassCount, ...]] = ContextVar("ttame_pass_counts", default=())


def counting_passes() -> contextlib.AbstractContextManager[PassCount]:
    """Count the passes of all classifiers while the block runs in this thread.

    Example:
        >>> import torch
        >>> from ttame.testing import tiny_classifier
        >>> classifier = tiny_classifier()
        >>> with counting_passes() as count:
        ...     _ = classifier.logits(torch.zeros(2, 3, 16, 16))
        >>> count
        PassCount(forward=2, backward=0, tail=0)
    """
    return Lent(_Counting())


class _Counting(Loan[PassCount]):
    def __init__(self) -> None:
        super().__init__()
        self.count = PassCount()
        self.joining = Joining(_counting, self.count)

    def begin(self) -> PassCount:
        self.joining.begin()
        return self.count

    def undo(self) -> None:
        self.joining.undo()


def note_pass(images: int, logits: Tensor) -> None:
    """A classifier ran; called by :class:`ttame.classifiers.classifier.Classifier`."""
    for count in _counting.get():
        count.note_forward(images, len(logits))
        if logits.requires_grad:
            logits.register_hook(_backward_noter(count, len(logits)))  # type: ignore[no-untyped-call]


def _backward_noter(count: PassCount, rows: int) -> Callable[[Tensor], None]:
    def note(_gradient: Tensor) -> None:
        count.note_backward(rows)

    return note
