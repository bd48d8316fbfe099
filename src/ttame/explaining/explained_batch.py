"""One batch of photos or texts, explained by every method."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any, Protocol

import torch
from torch import Tensor

from ttame.classifiers.any_classifier import AnyClassifier
from ttame.classifiers.class_selection import ClassSelection, select_classes
from ttame.classifiers.targets import Target


class Listener(Protocol):
    """Told how far the explaining is."""

    def start(self, photos: int, finished: int) -> None:
        """This process explains so many photos, of which some were finished in an earlier run."""

    def begin(self, method: str, first: int, count: int) -> None:
        """A method starts on ``count`` photos; ``first`` is the number of the first, from 1."""

    def step(self, finished: int, total: int) -> None:
        """A method with many passes has finished some of them."""

    def finish(self) -> None:
        """The method that began has explained its photos."""

    def skip(self, name: str, reason: str) -> None:
        """A photo could not be read, so that no method will explain it."""

    def note(self, text: str) -> None:
        """Something that the user should know of a photo."""


class Silence:
    """A listener that says nothing."""

    def start(self, photos: int, finished: int) -> None:
        """Nothing."""

    def begin(self, method: str, first: int, count: int) -> None:
        """Nothing."""

    def step(self, finished: int, total: int) -> None:
        """Nothing."""

    def finish(self) -> None:
        """Nothing."""

    def skip(self, name: str, reason: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


class Asked(Protocol):
    """What is to be explained of a batch, of photos or of texts."""

    @property
    def explainers(self) -> Mapping[str, Any]:
        """Label to explainer."""

    @property
    def classes(self) -> str | Tensor:
        """``"top3"`` and the like, or (1, K) classes."""

    @property
    def rather_than(self) -> int | None:
        """Index of a class that the others are compared with."""

    @property
    def memory_budget(self) -> int:
        """Bytes of activations."""


def unfinished_batches(
    own: Sequence[int],
    numbers: Callable[[int], Sequence[int]],
    finished: Set[int],
    listener: Listener,
) -> Iterator[int]:
    """The batches that this process still has to explain; the listener is told how far that is.

    Args:
        own: the batches that this process explains.
        numbers: the numbers of the photos or texts of a batch.
        finished: the batches that an earlier run has finished, of this process or another.
        listener: told how many photos or texts there are, and how many of them were finished.

    Example:
        >>> list(unfinished_batches([1, 3], lambda batch: [2 * batch, 2 * batch + 1], {0, 1},
        ...     Silence()))
        [3]
    """
    sizes = {batch: len(numbers(batch)) for batch in own}
    before = sum(size for batch, size in sizes.items() if batch in finished)
    listener.start(sum(sizes.values()), before)
    return (batch for batch in own if batch not in finished)


def classes_for_all(
    selection: ClassSelection, classifier: AnyClassifier[Any, Any], methods: int
) -> str | Tensor:
    """Read what is to be explained of every photo or text, and check it before any work.

    Args:
        selection: an int, a list of ints, ``"all"``, ``"top3"``, a class name or a list of names;
            ``None`` for the three most probable classes by one method (fewer if there are no
            three), and for the most probable one by several.
        classifier: the explained network.
        methods: how many there are.

    Returns:
        ``"top3"`` and the like, or (1, K) int64.

    Raises:
        ClassSelectionError: a class that the classifier does not have.
    """
    count = classifier.number_of_classes
    if selection is None:
        return f"top{min(3, count)}" if methods == 1 else "top1"
    if isinstance(selection, list | tuple) and all(isinstance(entry, int) for entry in selection):
        selection = [list(selection)] if selection else selection
    chosen = select_classes(selection, torch.zeros(1, count), classifier.class_names)
    # What is most probable differs from photo to photo.
    of_each = isinstance(selection, str) and re.fullmatch(r"top-?\d+", selection)
    return str(selection) if of_each else chosen


def are_wanted(wanted: str | Tensor, explained: Sequence[int]) -> bool:
    """Whether these are as many classes, or just the classes, that are to be explained.

    Args:
        wanted: what :func:`classes_for_all` returned.
        explained: the classes of a photo or text that was explained before.

    Example:
        >>> are_wanted("top2", [7, 3]), are_wanted(torch.tensor([[7]]), [3])
        (True, False)
    """
    if isinstance(wanted, Tensor):
        return [*explained] == wanted.flatten().tolist()
    return len(explained) == int(wanted.removeprefix("top").lstrip("-"))


def explained(asked: Asked, given: Any, first: int, listener: Listener) -> list[Any]:
    """Explain the same classes of the same photos or texts by every method.

    Args:
        asked: what is to be explained, and how.
        given: a batch of B, as the classifier takes it: (B, C, H, W) prepared photos, or texts.
        first: number of the first of them.
        listener: told how far it is.

    Returns:
        An explanation of the batch per method, on the CPU.
    """
    wanted: ClassSelection = asked.classes
    if isinstance(wanted, Tensor):
        wanted = wanted.expand(len(given), -1)
    rather_than = asked.rather_than
    explanations: list[Any] = []
    for label, explainer in asked.explainers.items():
        listener.begin(label, first + 1, len(given))
        target = Target.of(wanted) if rather_than is None else Target.contrast(wanted, rather_than)
        found = explainer(
            given,
            target=target,
            memory_budget=asked.memory_budget,
            progress=listener.step,
        )
        # The maps wait on the CPU, so that many methods need no more of a GPU than one.
        explanations.append(dataclasses.replace(found.to("cpu"), method=label))
        listener.finish()
        # The first method chooses: "top3" must mean the same three classes for all of them.
        wanted = explanations[0].classes
    return explanations
