"""The registry of metrics: one line for each file."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from ttame.errors import UnknownNameError
from ttame.metrics.metric import Column, Metric
from ttame.metrics.protocol import Protocol

_FILES = (
    "average_drop",
    "adcc",
    "insertion_deletion",
    "road",
    "hard_masks",
    "saco",
    "held_ground",
    "perturbation",
    "infidelity",
    "sensitivity_max",
    "map_agreement",
    "sparseness",
    "map_complexity",
    "class_sensitivity",
    "pointing_game",
    "energy_inside",
    "segmentation",
)
"""The files of this folder that define metrics, in the order of the table: one line each."""

METRICS: dict[str, Metric] = {
    metric.name: metric
    for file in _FILES
    for metric in vars(importlib.import_module(f"ttame.metrics.{file}")).values()
    if isinstance(metric, Metric)
}
"""Name to metric: every :class:`Metric` that these files hold."""


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
