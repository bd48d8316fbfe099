"""Explaining batch after batch of texts, each by every method."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from ttame.classifiers.any_classifier import AnyClassifier
from ttame.datasets.texts.text_lines import NamedText
from ttame.errors import TextError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.memory_budget import DEFAULT_BUDGET
from ttame.explaining.explained_batch import Listener, Silence, explained
from ttame.results.text_explanation import TextExplanation

TextExplainer = Explainer[AnyClassifier[Any, TextExplanation]]
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
    """

    texts: Sequence[NamedText]
    explainers: Mapping[str, TextExplainer]
    classes: str | Tensor
    batch_size: int
    rather_than: int | None = None
    memory_budget: int = DEFAULT_BUDGET
    strict: bool = True

    @property
    def classifier(self) -> AnyClassifier[Any, TextExplanation]:
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
        fitting = [text for text in batch if _fits(explaining, text, writer, listener)]
        if not fitting:
            continue
        given = [text.given for text in fitting]
        explanations = explained(explaining, given, start, listener)
        for index, text in enumerate(fitting):
            writer.add(text.name, explanations, index)


def _fits(
    explaining: ExplainingTexts, text: NamedText, writer: TextWriter, listener: Listener
) -> bool:
    """Whether the classifier takes a text; if not, that is said, or raised."""
    try:
        explaining.classifier.taken([text.given])
    except TextError as problem:
        about = _about(problem, text.name)
        if explaining.strict:
            raise about from problem
        reason = f"{about.problem}; allowed: {about.allowed}" if about.allowed else about.problem
        writer.skip(text.name, reason)
        listener.skip(text.name, reason)
        return False
    return True


def _about(problem: TextError, name: str) -> TextError:
    """The same error, of a text with a name rather than of the first one of a batch."""
    what = problem.problem.removeprefix("text 0 ")
    between = " " if what != problem.problem else ": "
    return TextError(f"{name}{between}{what}", allowed=problem.allowed, remedy=problem.remedy)
