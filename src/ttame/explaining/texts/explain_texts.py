"""Explaining batch after batch of texts, each by every method."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from torch import Tensor

from ttame.classifiers.class_selection import ClassSelection
from ttame.datasets.texts.text_lines import NamedText
from ttame.errors import TextError, Wording
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.memory_budget import DEFAULT_BUDGET
from ttame.explaining.explained_batch import Listener, Silence, explained
from ttame.explaining.texts.windowed_texts import explain_long_text
from ttame.results.text_explanation import TextExplanation
from ttame.text_classifiers.long_texts import LongText
from ttame.text_classifiers.text_classifier import TextClassifier

TextExplainer = Explainer[TextClassifier]
"""A method that explains a classifier of texts."""


class TextWriter(Protocol):
    """Takes what was found about texts."""

    def add(self, name: str, explanations: Sequence[TextExplanation], index: int) -> None:
        """Write everything about a text, which is number ``index`` of the explanations."""

    def skip(self, name: str, reason: str) -> None:
        """Note that a text could not be explained."""


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


def explain_text_batches(
    explaining: ExplainingTexts, writer: TextWriter, *, listener: Listener | None = None
) -> None:
    """Explain the texts; those of a file that cannot be explained are skipped.

    Args:
        explaining: what is to be explained, and how.
        writer: gets the explanations of each batch as soon as they are there.
        listener: told how far it is.

    Raises:
        TextError: a text that cannot be explained, where that is ``strict``.
        NonFiniteMapError: scores that are not numbers.
    """
    listener = listener or Silence()
    texts = explaining.texts
    listener.start(len(texts), 0)
    for start in range(0, len(texts), explaining.batch_size):
        batch = texts[start : start + explaining.batch_size]
        ways = [_way(explaining, text, writer, listener) for text in batch]
        given = [text.given for text, way in zip(batch, ways, strict=True) if way == "at once"]
        together = explained(explaining, given, start, listener) if given else []
        places = itertools.count()
        for number, (text, way) in enumerate(zip(batch, ways, strict=True), start=start):
            if way == "at once":
                writer.add(text.name, together, next(places))
            elif way == "in windows":
                writer.add(text.name, _in_windows(explaining, text, number, listener), 0)


Way = Literal["at once", "in windows", "not at all"]
"""How a text is read."""


def _way(
    explaining: ExplainingTexts, text: NamedText, writer: TextWriter, listener: Listener
) -> Way:
    """How the classifier reads a text; if it cannot, that is said, or raised."""
    try:
        explaining.classifier.taken(text.given)
    except TextError as problem:
        if explaining.windows and _is_long(explaining, text):
            return "in windows"
        about = _about(problem, text.name)
        if explaining.strict:
            raise about from problem
        reason = f"{about.problem}; allowed: {about.allowed}" if about.allowed else about.problem
        writer.skip(text.name, reason)
        listener.skip(text.name, reason)
        if about.remedy:
            # What helps is said once for all of the file, and not on the page.
            listener.note(Wording(about.remedy, "skipped texts: {}".format))
        return "not at all"
    return "at once"


def _is_long(explaining: ExplainingTexts, text: NamedText) -> bool:
    """Whether several windows cover a text."""
    if text.pair is not None or not text.text.strip():
        return False
    return len(LongText.of(explaining.classifier, text.text).windows) > 1


def _in_windows(
    explaining: ExplainingTexts, text: NamedText, number: int, listener: Listener
) -> list[TextExplanation]:
    """A long text by every method; the first one chooses the classes."""
    wanted: ClassSelection = explaining.classes
    explanations: list[TextExplanation] = []
    for label, explainer in explaining.explainers.items():
        listener.begin(label, number + 1, 1)
        found = explain_long_text(
            explainer,
            text.text,
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


def _about(problem: TextError, name: str) -> TextError:
    """The same error, of a text with a name rather than of the first one of a batch."""
    what = problem.problem.removeprefix("text 0 ")
    between = " " if what != problem.problem else ": "
    return TextError(f"{name}{between}{what}", allowed=problem.allowed, remedy=problem.remedy)
