"""The registry of metrics: one line each."""

from __future__ import annotations

from collections.abc import Sequence

from ttame.errors import UnknownNameError
from ttame.metrics.average_drop import (
    AVERAGE_DROP,
    AVERAGE_GAIN,
    INCREASE_IN_CONFIDENCE,
    MEAN_MAP,
)
from ttame.metrics.metric import Column, Metric
from ttame.metrics.protocol import Protocol

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        AVERAGE_DROP,
        INCREASE_IN_CONFIDENCE,
        AVERAGE_GAIN,
        MEAN_MAP,
    )
}
"""Name to metric. A new metric is one file and one line."""


def known_metrics(names: Sequence[str]) -> tuple[Metric, ...]:
    """Metrics by name, each once.

    Raises:
        UnknownNameError: there is none of that name; with near matches.

    Example:
        >>> [metric.title for metric in known_metrics(["average_drop"])]
        ['Average Drop']
    """
    for name in names:
        if name not in METRICS:
            raise UnknownNameError.of("metric", name, METRICS)
    return tuple(METRICS[name] for name in dict.fromkeys(names))


def columns_of(metrics: Sequence[Metric], protocol: Protocol) -> dict[str, tuple[Metric, Column]]:
    """The columns of the table: key to metric and column, in order."""
    return {
        column.key: (metric, column)
        for metric in metrics
        for column in metric.columns(metric, protocol)
    }
