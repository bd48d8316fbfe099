"""What an evaluation on texts is of: the same for all of its methods."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ttame.datasets.texts.annotated_texts import AnnotatedText, AnnotatedTexts
from ttame.explainers.contract.memory_budget import DEFAULT_BUDGET
from ttame.metrics.texts.text_metric import TextMetric
from ttame.metrics.texts.text_protocol import TextProtocol
from ttame.text_classifiers.text_classifier import TextClassifier


@dataclasses.dataclass(frozen=True)
class MeasuringTexts:
    """Everything that is the same for all methods of an evaluation.

    Attributes:
        classifier: the explained network.
        texts: the data.
        numbers: the numbers of the texts that are evaluated.
        labels: of each of ``numbers``, the class that the data name; -1 where they name none.
        protocol: how to measure.
        metrics: what to measure.
        batch_size: texts at a time.
        folder: where rows go.
        memory_budget: activations that a method with many passes may hold at a time.
    """

    classifier: TextClassifier
    texts: AnnotatedTexts
    numbers: Sequence[int]
    labels: Sequence[int]
    protocol: TextProtocol
    metrics: Sequence[TextMetric]
    batch_size: int
    folder: Path
    memory_budget: str | int = DEFAULT_BUDGET

    def batch(self, part: slice) -> TextBatch:
        """The texts of a batch."""
        numbers = tuple(self.numbers[part])
        return TextBatch(
            numbers=numbers,
            texts=tuple(self.texts[number] for number in numbers),
            labels=tuple(self.labels[part]),
        )


@dataclasses.dataclass(frozen=True)
class TextBatch:
    """Some texts of the data.

    Attributes:
        numbers: the numbers of the texts.
        texts: as they were read.
        labels: the class that the data name for each; -1 where they name none.
    """

    numbers: tuple[int, ...]
    texts: tuple[AnnotatedText, ...]
    labels: tuple[int, ...]
