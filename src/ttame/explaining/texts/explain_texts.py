"""Explaining batch after batch of texts, each by every method."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence, Set
from contextlib import AbstractContextManager
from typing import Literal, Protocol

from torch import Tensor

from ttame.classifiers.class_selection import ClassSelection
from ttame.datasets.texts.text_lines import NamedText
from ttame.errors import TextError, Wording
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.memory_budget import DEFAULT_BUDGET
from ttame.explaining.explained_batch import Listener, Silence, explained, unfinished_batches
from ttame.explaining.texts.windowed_texts import explain_long_text
from ttame.processes import Share
from ttame.results.text_explanation import TextExplanation
from ttame.text_classifiers.given_texts import given_texts, naming_the_text
from ttame.text_classifiers.long_texts import LongText
from ttame.text_classifiers.text_classifier import TextClassifier

TextExplainer = Explainer[TextClassifier]
"""A method that explains a classifier of texts."""


class TextBatchWriter(Protocol):
    """Takes what was found about the texts of one batch."""

    def add(self, number: int, explanations: Sequence[TextExplanation], index: int) -> None:
        """Write everything about text ``number``, which is text ``index`` of the explanations."""

    def skip(self, number: int, reason: str) -> None:
        """Note that text ``number`` could not be explained."""


class TextResultWriter(Protocol):
    """Keeps finished batches, whatever happens to the run."""

    def finished(self) -> Set[int]:
        """The batches that an earlier run has finished."""

    def batch(self, number: int) -> AbstractContextManager[TextBatchWriter]:
        """Open a batch; it is finished when the block ends without an error."""


@dataclasses.dataclass(frozen=True, eq=False)
class ExplainingTexts:
    """What is to be explained, and how.

    Attributes:
        texts: with their names.
        explainers: label to explainer, all of one classifier.
        classes: ``"top2"`` and the like, or (1, K) classes for all texts.
        batch_size: texts at a time.
        rather_than: index of a class: what speaks for the others rather than for it.
        memory_budget: activations that a method with many passes may hold at a time, in bytes.
        strict: whether a text that cannot be explained ends it all, rather than being skipped.
        windows: whether a text that is too long is read in windows; pairs are not.
    """

    texts: Sequence[NamedText]
    explainers: Mapping[str, TextExplainer]
    classes: str | Tensor
    batch_size: int
    rather_than: int | None = None
    memory_budget: int = DEFAULT_BUDGET
    strict: bool = True
    windows: bool = False

    @property
    def classifier(self) -> TextClassifier:
        """The explained network."""
        return next(iter(self.explainers.values())).classifier

    @property
    def batches(self) -> int:
        """How many batches there are."""
        return -(-len(self.texts) // self.batch_size)

    def numbers(self, batch: int) -> range:
        """The texts of a batch."""
        start = batch * self.batch_size
        return range(start, min(start + self.batch_size, len(self.texts)))


def explain_text_batches(
    explaining: ExplainingTexts,
    writer: TextResultWriter,
    *,
    listener: Listener | None = None,
    share: Share | None = None,
) -> None:
    """Explain whatever is not finished yet.

    Where every text must be explained (``strict``), that they can be is checked before any work.
    Elsewhere those that cannot be are skipped.

    Args:
        explaining: what is to be explained, and how.
        writer: gets the explanations of each batch as soon as they are there.
        listener: told how far it is.
        share: the share of this process.

    Raises:
        TextError: a text that cannot be explained, where that is ``strict``.
        NonFiniteMapError: scores that are not numbers.
    """
    listener = listener or Silence()
    own = (share or Share()).of_batches(explaining.batches)
    if explaining.strict:
        for batch in own:
            for number in explaining.numbers(batch):
                _taken(explaining, explaining.texts[number])
    for batch in unfinished_batches(own, explaining.numbers, writer.finished(), listener):
        with writer.batch(batch) as results:
            _explain(explaining, explaining.numbers(batch), results, listener)


def _explain(
    explaining: ExplainingTexts, numbers: range, results: TextBatchWriter, listener: Listener
) -> None:
    """Explain one batch."""
    ways = {number: _way(explaining, number, results, listener) for number in numbers}
    given = [explaining.texts[number].given for number in numbers if ways[number] == "at once"]
    together = explained(explaining, given, numbers.start, listener) if given else []
    places = itertools.count()
    for number, way in ways.items():
        if way == "at once":
            results.add(number, together, next(places))
        elif way == "in windows":
            results.add(number, _in_windows(explaining, number, listener), 0)


Way = Literal["at once", "in windows", "not at all"]
"""How a text is read."""


def _way(
    explaining: ExplainingTexts, number: int, results: TextBatchWriter, listener: Listener
) -> Way:
    """How the classifier reads a text; if it cannot, that is said."""
    text = explaining.texts[number]
    try:
        return _taken(explaining, text)
    except TextError as problem:
        behind = f"; allowed: {problem.allowed}" if problem.allowed else ""
        reason = f"{problem.problem}{behind}"
        results.skip(number, reason)
        listener.skip(text.name, reason)
        if problem.remedy:
            # What helps is said once for all of the file, and not on the page.
            listener.note(Wording(problem.remedy, "skipped texts: {}".format))
        return "not at all"


def _taken(explaining: ExplainingTexts, text: NamedText) -> Literal["at once", "in windows"]:
    """How the classifier reads a text.

    Raises:
        TextError: it cannot.
    """
    try:
        explaining.classifier.tokenise(text.given)
    except TextError as problem:
        if explaining.windows and _fits_in_windows(explaining.classifier, text):
            return "in windows"
        raise naming_the_text(problem, text.name) from problem
    return "at once"


def _fits_in_windows(classifier: TextClassifier, text: NamedText) -> bool:
    """Whether a text is covered by several windows, each of which holds a word."""
    if text.pair is not None:
        return False
    try:
        given_texts(text.text)
        long = LongText.of(classifier, text.text)
        classifier.tokenise([*long.pieces])
    except TextError:
        return False
    return len(long.windows) > 1


def _in_windows(
    explaining: ExplainingTexts, number: int, listener: Listener
) -> list[TextExplanation]:
    """A long text by every method; the first one chooses the classes."""
    wanted: ClassSelection = explaining.classes
    explanations: list[TextExplanation] = []
    for label, explainer in explaining.explainers.items():
        listener.begin(label, number + 1, 1)
        found = explain_long_text(
            explainer,
            explaining.texts[number].text,
            wanted,
            rather_than=explaining.rather_than,
            batch_size=explaining.batch_size,
            memory_budget=explaining.memory_budget,
            progress=listener.step,
        )
        explanations.append(dataclasses.replace(found.to("cpu"), method=label))
        listener.finish()
        wanted = explanations[0].classes
    return explanations
