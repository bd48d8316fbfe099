"""The registry of metrics of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ttame.errors import UnknownNameError
from ttame.metrics.texts.auprc import auprc
from ttame.metrics.texts.erasure import comprehensiveness, sufficiency
from ttame.metrics.texts.measured_text import MeasuredText
from ttame.metrics.texts.text_metric import TextMetric
from ttame.metrics.texts.text_protocol import TextProtocol
from ttame.metrics.texts.token_curves import area_under, deletion_curve, insertion_curve
from ttame.metrics.texts.token_f1 import best_token_f1, token_f1

_TAKING = ("merging", "unit", "taken_away", "seed")
"""Settings of whatever takes words away."""


def _token_f1(text: MeasuredText, protocol: TextProtocol) -> dict[str, float]:
    scores = text.compared_scores(protocol)
    values = token_f1(scores, text.marked(), protocol.counts, seed=protocol.seed)
    return _over_counts("token_f1", values, protocol)


def _best_token_f1(text: MeasuredText, protocol: TextProtocol) -> dict[str, float]:
    scores = text.compared_scores(protocol)
    return _over_counts(
        "best_token_f1", best_token_f1(scores, text.marked(), protocol.counts), protocol
    )


def _over_counts(name: str, values: np.ndarray, protocol: TextProtocol) -> dict[str, float]:
    """The mean over the numbers of words, and the points of the curve."""
    points = zip(protocol.counts, values.tolist(), strict=True)
    return {name: float(values.mean())} | {f"{name}.curve@{k}": value for k, value in points}


def _auprc(text: MeasuredText, protocol: TextProtocol) -> dict[str, float]:
    return {"auprc": auprc(text.compared_scores(protocol), text.marked(), area=protocol.area)}


def _comprehensiveness(text: MeasuredText, protocol: TextProtocol) -> dict[str, float]:
    return {"comprehensiveness": comprehensiveness(**_erasing(text, protocol))}


def _sufficiency(text: MeasuredText, protocol: TextProtocol) -> dict[str, float]:
    return {"sufficiency": sufficiency(**_erasing(text, protocol))}


def _deletion(text: MeasuredText, protocol: TextProtocol) -> dict[str, float]:
    return _along("deletion", deletion_curve(**_walking(text, protocol)))


def _insertion(text: MeasuredText, protocol: TextProtocol) -> dict[str, float]:
    return _along("insertion", insertion_curve(**_walking(text, protocol)))


def _changing(text: MeasuredText, protocol: TextProtocol) -> dict[str, Any]:
    scores, units = text.units(protocol)
    return {
        "probability": text.probability,
        "scores": scores,
        "units": units,
        "seed": protocol.seed,
    }


def _erasing(text: MeasuredText, protocol: TextProtocol) -> dict[str, Any]:
    return {**_changing(text, protocol), "shares": protocol.shares}


def _walking(text: MeasuredText, protocol: TextProtocol) -> dict[str, Any]:
    return {**_changing(text, protocol), "steps": protocol.steps}


def _along(name: str, curve: np.ndarray) -> dict[str, float]:
    places = np.linspace(0, 100, len(curve))
    points = zip(places, curve.tolist(), strict=True)
    return {name: area_under(curve)} | {f"{name}.curve@{x:g}": point for x, point in points}


TEXT_METRICS: dict[str, TextMetric] = {
    metric.name: metric
    for metric in (
        TextMetric(
            name="token_f1",
            title="Token F1",
            better="higher",
            paper="DeYoung et al., arXiv 1911.03429",
            measures="F1 of the words of highest score against those that annotators marked, "
            "the mean over numbers of words from few to many",
            cost="none",
            function=_token_f1,
            reads=("counts", "merging", "clamped", "seed"),
            needs_rationales=True,
            curve_over="words",
        ),
        TextMetric(
            name="best_token_f1",
            title="Best possible token F1",
            better="neither",
            paper="none: what the best order of the words would reach in token F1",
            measures="the highest token F1 that any scores could reach on these texts",
            cost="none",
            function=_best_token_f1,
            reads=("counts",),
            needs_rationales=True,
            curve_over="words",
        ),
        TextMetric(
            name="auprc",
            title="AUPRC",
            better="higher",
            paper="DeYoung et al., arXiv 1911.03429",
            measures="area under precision over recall of the scores as predictions of what "
            "annotators marked",
            cost="none",
            function=_auprc,
            reads=("area", "merging", "clamped"),
            needs_rationales=True,
        ),
        TextMetric(
            name="comprehensiveness",
            title="Comprehensiveness",
            better="higher",
            paper="DeYoung et al., arXiv 1911.03429",
            measures="percentage points of probability that are lost without the first words, "
            "the mean over the shares",
            cost="1 forward per share",
            function=_comprehensiveness,
            reads=("shares", *_TAKING),
            bounds=(-100.0, 100.0),
        ),
        TextMetric(
            name="sufficiency",
            title="Sufficiency",
            better="lower",
            paper="DeYoung et al., arXiv 1911.03429",
            measures="percentage points of probability that are lost with the first words alone, "
            "the mean over the shares",
            cost="1 forward per share",
            function=_sufficiency,
            reads=("shares", *_TAKING),
            bounds=(-100.0, 100.0),
        ),
        TextMetric(
            name="deletion",
            title="Deletion",
            better="lower",
            paper="Petsiuk et al., arXiv 1806.07421, applied to words",
            measures="area under the class's probability while words vanish, highest scores first",
            cost="1 forward per step",
            function=_deletion,
            reads=("steps", *_TAKING),
            curve_over="% of the words",
        ),
        TextMetric(
            name="insertion",
            title="Insertion",
            better="higher",
            paper="Petsiuk et al., arXiv 1806.07421, applied to words",
            measures="area under the class's probability while words come in, highest scores first",
            cost="1 forward per step",
            function=_insertion,
            reads=("steps", *_TAKING),
            curve_over="% of the words",
        ),
    )
}
"""Name to metric, in the order of the table."""


def known_text_metrics(names: Sequence[str]) -> tuple[TextMetric, ...]:
    """Metrics of texts by name, each once.

    Raises:
        UnknownNameError: there is none of that name; with near matches.

    Example:
        >>> [metric.title for metric in known_text_metrics(["auprc"])]
        ['AUPRC']
    """
    for name in names:
        if name not in TEXT_METRICS:
            raise UnknownNameError.of("metric of texts", name, TEXT_METRICS)
    return tuple(TEXT_METRICS[name] for name in dict.fromkeys(names))
