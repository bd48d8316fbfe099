"""Explaining and measuring text after text, method after method."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ttame.datasets.texts.annotated_texts import AnnotatedText
from ttame.evaluation.evaluation_run import HAS_EVIDENCE
from ttame.evaluation.measuring import Listener
from ttame.evaluation.row_store import BatchFacts, RowStore
from ttame.evaluation.texts.changed_text import ChangedText
from ttame.evaluation.texts.measuring_texts import MeasuringTexts, TextBatch
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.memory_budget import ActivationMeter, in_chunks
from ttame.files.printable_names import printable
from ttame.metrics.texts.measured_text import MeasuredText
from ttame.networks.pass_counter import counting_passes
from ttame.processes import Share
from ttame.results.text_explanation import TextExplanation
from ttame.text_classifiers.text_classifier import TextClassifier
from ttame.words.tokenised_text import TokenisedText

IS_RIGHT = "is_right"
"""Key of the rows that say whether the classifier predicts the label; NaN without a label."""

IS_CUT = "is_cut"
"""Key of the rows that say whether a text has words that the classifier did not read."""


def measure_texts(
    measuring: MeasuringTexts,
    explainers: Mapping[str, Explainer],
    *,
    listener: Listener,
    share: Share | None = None,
) -> None:
    """Explain and measure whatever is not finished yet.

    Args:
        measuring: what is the same for all methods.
        explainers: label to explainer, of the same classifier.
        listener: told how far it is.
        share: the share of this process.

    Raises:
        EvaluationError: a probability that is not a number.
        NonFiniteMapError: a map with values that are not finite. What was measured before is kept.
    """
    store = RowStore(measuring.folder)
    quick = measuring.classifier.for_many_passes()
    chunks = list(in_chunks(len(measuring.numbers), measuring.batch_size))
    own = (share or Share()).of_batches(len(chunks))
    sizes = {batch: chunks[batch].stop - chunks[batch].start for batch in own}
    for label, explainer in explainers.items():
        finished = store.finished(label)
        before = sum(size for batch, size in sizes.items() if batch in finished)
        listener.begin(label, sum(sizes.values()), before)
        for batch in own:
            if batch in finished:
                continue
            # The first batch warms up, so it is the one that the memory is measured on.
            asking = _Asking(explainer, quick, listener, metered=batch == 0)
            _measure(measuring, store, label, asking, batch, measuring.batch(chunks[batch]))
            listener.measured(sizes[batch])


@dataclasses.dataclass(frozen=True)
class _Asking:
    """One method, and the classifier that is asked about what it says."""

    explainer: Explainer
    classifier: TextClassifier
    listener: Listener
    metered: bool


def _measure(
    measuring: MeasuringTexts,
    store: RowStore,
    label: str,
    asking: _Asking,
    number: int,
    batch: TextBatch,
) -> None:
    explanation, facts = _explained(measuring, asking, batch)
    signal = asking.classifier.taken([text.text for text in batch.texts]).images
    rows = [
        _row(measuring, asking, text, explanation, place, signal[place : place + 1])
        for place, text in enumerate(batch.texts)
    ]
    predicted = explanation.logits.argmax(dim=1).tolist()
    right = [
        float(label == found) if label >= 0 else math.nan
        for label, found in zip(batch.labels, predicted, strict=True)
    ]
    values = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    keys = [printable(text.key) for text in batch.texts]
    values[IS_RIGHT] = np.array(right)
    classes = explanation.classes[:, 0].tolist()
    store.write(label, number, batch.numbers, keys, classes, values, facts)


def _explained(
    measuring: MeasuringTexts, asking: _Asking, batch: TextBatch
) -> tuple[TextExplanation, BatchFacts]:
    count = len(batch.texts)
    peak: float | None = None
    top = measuring.protocol.explained_class == "top-1"
    classes = None if top else torch.tensor(batch.labels, dtype=torch.int64)[:, None]

    def explain() -> Any:
        return asking.explainer(
            [text.text for text in batch.texts],
            classes,
            memory_budget=measuring.memory_budget,
            progress=asking.listener.step,
        )

    with counting_passes() as passes:
        start = time.perf_counter()
        if asking.metered:
            with ActivationMeter() as memory:
                explanation = explain()
            peak = memory.peak / 1e6
        else:
            explanation = explain()
        if explanation.maps.is_cuda:
            torch.cuda.synchronize()
        milliseconds = 1000 * (time.perf_counter() - start) / count
    return explanation, BatchFacts(
        images=count,
        milliseconds=milliseconds,
        metered=asking.metered,
        forward=passes.forward / count,
        backward=passes.backward / count,
        tail=passes.tail / count,
        peak_megabytes=peak,
    )


def _row(
    measuring: MeasuringTexts,
    asking: _Asking,
    text: AnnotatedText,
    explanation: TextExplanation,
    place: int,
    signal: Tensor,
) -> dict[str, float]:
    """All values of one text."""
    scores = explanation.maps[place, 0].double().cpu().numpy()
    words = words_of_tokens(explanation.texts[place])
    own = scores[words >= 0]
    measured = MeasuredText(
        scores=scores,
        words=words,
        number_of_words=text.number_of_words,
        probability=ChangedText(
            asking.classifier,
            signal,
            int(explanation.classes[place, 0]),
            measuring.protocol.taken_away,
        ),
        rationale=text.marked_words(),
    )
    values = {
        HAS_EVIDENCE: float(len(own) > 0 and own.max() > own.min()),
        IS_CUT: float(words.max(initial=-1) + 1 < text.number_of_words),
    }
    for metric in measuring.metrics:
        values |= metric.function(measured, measuring.protocol)
    return values


def words_of_tokens(text: TokenisedText) -> np.ndarray:
    """(T,) int, the word of each token of a text; -1 for special tokens and padding."""
    return np.array(
        [
            -1 if word is None or special else word
            for word, special in zip(text.words, text.special, strict=True)
        ],
        dtype=np.int64,
    )
