"""Metrics whose probabilities come from another classifier than the explained one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from ttame.metrics.metric import JUDGED, Column, Combine, Metric
from ttame.metrics.protocol import Protocol


def with_judged(metrics: Sequence[Metric]) -> tuple[Metric, ...]:
    """The metrics, then those of them that ask for probabilities, once more with a judge's.

    Example:
        >>> from ttame.metrics.known_metrics import known_metrics
        >>> [metric.name for metric in with_judged(known_metrics(["insertion", "mean_map"]))]
        ['insertion', 'mean_map', 'judged.insertion']
    """
    asking = [metric for metric in metrics if "probabilities" in metric.needs]
    return (*metrics, *map(judged_metric, asking))


def judged_metric(metric: Metric) -> Metric:
    """The metric with the probabilities of the batch's ``judge``.

    The maps, the explained classes and the changed images are those of the explained classifier;
    a second one says what the changes do to the class. What was fitted to the quirks of one
    network does not move another.

    Args:
        metric: any that asks for probabilities.

    Returns:
        One whose name, keys and columns begin with ``judged.``.

    Example:
        >>> from ttame.metrics.known_metrics import METRICS
        >>> judged = judged_metric(METRICS["average_drop"])
        >>> [column.key for column in judged.columns(judged, Protocol("mine", kept_shares=(0.5,)))]
        ['judged.average_drop@50']
    """

    def columns(_: Metric, protocol: Protocol) -> tuple[Column, ...]:
        return tuple(map(_judged_column, metric.columns(metric, protocol)))

    return dataclasses.replace(
        metric,
        name=f"{JUDGED}{metric.name}",
        title=f"{metric.title}, judged",
        measures=f"by a second classifier: {metric.measures}",
        columns=columns,
        judged=metric,
    )


def _judged_column(column: Column) -> Column:
    combine = column.combine
    return Column(
        f"{JUDGED}{column.key}",
        f"{column.title}, judged",
        tuple(f"{JUDGED}{part}" for part in column.parts),
        None if combine is None else _of_judged(combine),
    )


def _of_judged(combine: Combine) -> Combine:
    def combined(means: Mapping[str, np.ndarray]) -> np.ndarray:
        return combine({key.removeprefix(JUDGED): values for key, values in means.items()})

    return combined
