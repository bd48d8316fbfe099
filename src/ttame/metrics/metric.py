"""What the registry knows about a metric."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from torch import Tensor

from ttame.metrics.measuring_batch import MeasuringBatch
from ttame.metrics.protocol import Protocol

Measure = Callable[[MeasuringBatch, Protocol], dict[str, Tensor]]
"""Values of every image, (B,) float each, by key."""

Combine = Callable[[Mapping[str, np.ndarray]], np.ndarray]
"""Means over images, (R,) for each part and R resamples, to the (R,) numbers of the table."""


def only_itself(metric: Metric, protocol: Protocol) -> tuple[Column, ...]:
    """The column of a metric whose number is the mean of its values."""
    return (Column(metric.name, metric.title),)


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of the table.

    Attributes:
        key: of the column, and of the values whose mean it is unless ``parts`` are given.
        title: its heading.
        parts: keys of values whose means are combined.
        combine: means of the parts to the number.

    Example:
        >>> Column("mean_map", "Mean map").parts
        ()
    """

    key: str
    title: str
    parts: tuple[str, ...] = ()
    combine: Combine | None = None


@dataclasses.dataclass(frozen=True)
class Metric:
    """The facts about a metric, and the function that measures it.

    ``measure`` may return more values than columns show: a key ``NAME.curve@X`` is a point of a
    curve over X, in percent, that reports draw; other keys are parts. NaN means that the image has
    no value (no annotation, say): it does not count in the mean.

    Attributes:
        name: in the registry and on the command line.
        title: as papers write it.
        better: whether higher or lower numbers are better; ``"neither"`` for what only describes.
        unit: ``"%"``, or empty for a number without unit.
        paper: authors, place or arXiv number.
        measures: one sentence that says what the number means.
        cost: what measuring costs an image, in words.
        measure: the function.
        columns: of the table.
        needs: ``"targets"`` if the data must be annotated.
        per_class: whether images of a class are averaged before classes are.

    Example:
        >>> from ttame.metrics.known_metrics import METRICS
        >>> metric = METRICS["average_drop"]
        >>> metric.better, metric.unit
        ('lower', '%')
        >>> protocol = Protocol("mine", kept_shares=(1.0, 0.3))
        >>> [column.key for column in metric.columns(metric, protocol)]
        ['average_drop@100', 'average_drop@30']
    """

    name: str
    title: str
    better: Literal["higher", "lower", "neither"]
    unit: str
    paper: str
    measures: str
    cost: str
    measure: Measure
    columns: Callable[[Metric, Protocol], tuple[Column, ...]] = only_itself
    needs: frozenset[Literal["targets"]] = frozenset()
    per_class: bool = False
