"""The registry of metrics: one line each."""

from __future__ import annotations

from collections.abc import Sequence

from ttame.errors import UnknownNameError
from ttame.metrics.adcc import ADCC, COHERENCY, COMPLEXITY
from ttame.metrics.average_drop import (
    AVERAGE_DROP,
    AVERAGE_GAIN,
    INCREASE_IN_CONFIDENCE,
    MEAN_MAP,
)
from ttame.metrics.class_sensitivity import CLASS_SENSITIVITY
from ttame.metrics.energy_inside import ENERGY_INSIDE
from ttame.metrics.infidelity import INFIDELITY
from ttame.metrics.insertion_deletion import DELETION, INSERTION
from ttame.metrics.map_complexity import MAP_COMPLEXITY
from ttame.metrics.metric import Column, Metric
from ttame.metrics.perturbation import NEGATIVE_PERTURBATION, POSITIVE_PERTURBATION
from ttame.metrics.pointing_game import POINTING_GAME
from ttame.metrics.protocol import Protocol
from ttame.metrics.road import ROAD_LEAST_RELEVANT_FIRST, ROAD_MOST_RELEVANT_FIRST
from ttame.metrics.segmentation import SEGMENTATION
from ttame.metrics.sensitivity_max import SENSITIVITY_MAX
from ttame.metrics.sparseness import SPARSENESS

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        AVERAGE_DROP,
        INCREASE_IN_CONFIDENCE,
        AVERAGE_GAIN,
        MEAN_MAP,
        ADCC,
        COHERENCY,
        COMPLEXITY,
        INSERTION,
        DELETION,
        ROAD_MOST_RELEVANT_FIRST,
        ROAD_LEAST_RELEVANT_FIRST,
        POSITIVE_PERTURBATION,
        NEGATIVE_PERTURBATION,
        INFIDELITY,
        SENSITIVITY_MAX,
        SPARSENESS,
        MAP_COMPLEXITY,
        CLASS_SENSITIVITY,
        POINTING_GAME,
        ENERGY_INSIDE,
        SEGMENTATION,
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
