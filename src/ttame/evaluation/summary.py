"""From rows to the table: numbers, intervals, ranks, tests, curves and costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from typing import Protocol as TypingProtocol

import numpy as np

from ttame.evaluation.evaluation_run import HAS_EVIDENCE
from ttame.evaluation.paired_statistics import (
    SIGNIFICANCE,
    CombineMeans,
    bootstrap_interval,
    corrected,
    images_to_separate,
    permutation_p_value,
    ranks,
    the_mean,
)
from ttame.evaluation.row_store import BatchFacts, RowStore
from ttame.evaluation.run_identity import MethodFacts, known_methods
from ttame.metrics.metric import Column
from ttame.results.evaluation import (
    ColumnFacts,
    CurvePoint,
    MethodCost,
    MethodScores,
    RandomisationScore,
    Score,
)


class _Metric(TypingProtocol):
    """What the table must know of a metric, of images or of texts."""

    @property
    def name(self) -> str: ...
    @property
    def better(self) -> Literal["higher", "lower", "neither"]: ...
    @property
    def unit(self) -> str: ...
    @property
    def paper(self) -> str: ...
    @property
    def measures(self) -> str: ...
    @property
    def curve_over(self) -> str: ...
    @property
    def per_class(self) -> bool: ...


class MeasuredMethod:
    """The rows of one method in memory.

    Args:
        store: has them.
        label: the label of the method.
    """

    def __init__(self, store: RowStore, label: str) -> None:
        self.label = label
        self.images, self.classes, self.values = store.values(label)
        self.facts = store.facts(label)

    @property
    def no_evidence(self) -> int:
        """How many of its maps are constant."""
        return int((self.values.get(HAS_EVIDENCE, np.ones(0)) == 0).sum())

    def cost(self) -> MethodCost:
        """What its maps cost an image."""
        return cost_of(self.facts)

    def curves(self) -> dict[str, tuple[CurvePoint, ...]]:
        """The points that were measured along curves, with their intervals."""
        found: dict[str, list[CurvePoint]] = {}
        for key, values in self.values.items():
            metric, _, x = key.partition(".curve@")
            present = values[~np.isnan(values)]
            if not x or not len(present):
                continue
            low, high = bootstrap_interval([present], resamples=500)
            point = CurvePoint(float(x), float(present.mean()), low, high)
            found.setdefault(metric, []).append(point)
        return {
            metric: tuple(sorted(points, key=lambda point: point.x))
            for metric, points in found.items()
        }


@dataclasses.dataclass(frozen=True, eq=False)
class FoundMethods:
    """The methods of a folder of an evaluation.

    Attributes:
        known: label to what the results say of a method besides its numbers.
        measured: those that are finished, with their rows.
        unfinished: the labels of the others, which a run that was interrupted has begun.
    """

    known: Mapping[str, MethodFacts]
    measured: Sequence[MeasuredMethod]
    unfinished: Sequence[str]


def found_methods(folder: Path, items: int, batch_size: int) -> FoundMethods:
    """Read everything that was measured in a folder, in this run or before.

    Args:
        folder: of the evaluation.
        items: how many photos or texts it is of.
        batch_size: how many of them share a file of rows.

    Raises:
        EvaluationError: a file is damaged.
    """
    store, known = RowStore(folder), known_methods(folder)
    batches = -(-items // batch_size)
    complete = [label for label in known if len(store.finished(label)) == batches]
    return FoundMethods(
        known,
        [MeasuredMethod(store, label) for label in complete],
        [label for label in known if label not in complete],
    )


def method_rows(
    measured: Sequence[MeasuredMethod],
    known: Mapping[str, MethodFacts],
    scores: Mapping[str, Mapping[str, Score]],
    published: Mapping[str, Mapping[str, float]],
    sanity: Mapping[str, RandomisationScore],
) -> tuple[MethodScores, ...]:
    """The rows of the table, in the order of the methods.

    Args:
        measured: the methods.
        known: label to what the results say of a method besides its numbers.
        scores: column to label to score.
        published: label to column to a published number.
        sanity: label to the result of the randomisation check.
    """
    return tuple(
        MethodScores(
            name=method.label,
            title=known[method.label].title,
            family=known[method.label].family,
            scores={key: of[method.label] for key, of in scores.items() if method.label in of},
            curves=method.curves(),
            cost=method.cost(),
            options=_plain(known[method.label].provenance),
            published=published.get(method.label, {}),
            no_evidence=method.no_evidence,
            sanity=sanity.get(method.label),
        )
        for method in measured
    )


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value if isinstance(value, int | float | str | bool) or value is None else str(value)
        for name, value in options.items()
    }


def cost_of(facts: Sequence[BatchFacts]) -> MethodCost:
    """What a method's maps cost an image, over its batches."""
    measured = [fact for fact in facts if fact.images]
    images = sum(fact.images for fact in measured) or 1
    undisturbed = [fact.milliseconds for fact in measured if not fact.metered]
    times = undisturbed or [fact.milliseconds for fact in measured]
    peaks = [fact.peak_megabytes for fact in measured if fact.peak_megabytes is not None]
    return MethodCost(
        forward=sum(fact.images * fact.forward for fact in measured) / images,
        backward=sum(fact.images * fact.backward for fact in measured) / images,
        tail=sum(fact.images * fact.tail for fact in measured) / images,
        milliseconds=float(np.median(times)) if times else 0.0,
        peak_megabytes=max(peaks, default=0.0),
    )


def column_facts(columns: Mapping[str, tuple[_Metric, Column]]) -> tuple[ColumnFacts, ...]:
    """What readers must know of the columns."""
    return tuple(
        ColumnFacts(
            key=key,
            title=column.title,
            metric=metric.name,
            better=metric.better,
            unit=metric.unit,
            paper=metric.paper,
            measures=metric.measures,
            curve_over=metric.curve_over,
        )
        for key, (metric, column) in columns.items()
    )


def scores_of(
    methods: Sequence[MeasuredMethod], metric: _Metric, column: Column
) -> dict[str, Score]:
    """One column of the table: label to score, for the methods that have it.

    Every method is tested against the best one on the images that both have, and the p-values are
    corrected for the number of methods.
    """
    parts = column.parts or (column.key,)
    combine = mean_of_class_means if metric.per_class else _combination(column, parts)
    tables: dict[str, tuple[np.ndarray, list[np.ndarray]]] = {}
    for method in methods:
        found = _values(method, metric, parts)
        if found is not None:
            tables[method.label] = found
    labels = list(tables)
    numbers = [_number(tables[label][1], combine) for label in labels]
    order = ranks(numbers, metric.better)
    best = labels[order.index(1)] if 1 in order else None
    p_values = dict.fromkeys(labels, 1.0)
    others = [] if best is None else [label for label in labels if label != best]
    if best is not None:
        raw = [_p_value(tables[best], tables[label], combine) for label in others]
        p_values |= dict(zip(others, corrected(raw), strict=True))
    needed = dict.fromkeys(labels, 0)
    # Where classes count alike, the number of images says little about a test's power.
    if best is not None and not metric.per_class:
        for label in others:
            if p_values[label] >= SIGNIFICANCE:
                shared = _on_shared_images(tables[best], tables[label])
                needed[label] = images_to_separate(*shared, combine, tests=len(others))
    scores = {}
    for label, number, rank in zip(labels, numbers, order, strict=True):
        low, high = _interval(tables[label][1], combine, metric)
        images = len(tables[label][0])
        scores[label] = Score(number, low, high, rank, p_values[label], images, needed[label])
    return scores


def _interval(
    values: Sequence[np.ndarray], combine: CombineMeans, metric: _Metric
) -> tuple[float, float]:
    """Over resampled images, or over resampled classes where classes count alike.

    Resampled images would lose the classes that have a single one, so that another number would
    be resampled than the table shows.
    """
    if not metric.per_class:
        return bootstrap_interval(values, combine)
    half = len(values) // 2
    if half == 1:
        return bootstrap_interval(values[:1])
    sums = [(values[place].sum(), values[half + place].sum()) for place in range(half)]
    return bootstrap_interval([np.array([total / count for total, count in sums])])


def _combination(column: Column, parts: Sequence[str]) -> CombineMeans:
    if column.combine is None:
        return the_mean
    combine = column.combine
    return lambda means: combine(dict(zip(parts, means, strict=True)))


def _number(values: Sequence[np.ndarray], combine: CombineMeans) -> float:
    return float(combine([np.array([part.mean()]) for part in values])[0])


def _values(
    method: MeasuredMethod, metric: _Metric, parts: Sequence[str]
) -> tuple[np.ndarray, list[np.ndarray]] | None:
    """Numbers of the images that have a value, and the values of each part."""
    if any(part not in method.values for part in parts):
        return None
    values = [method.values[part] for part in parts]
    present = ~np.isnan(np.stack(values)).any(axis=0)
    if not present.any():
        return None
    values = [part[present] for part in values]
    if metric.per_class:
        values = _by_class(values[0], method.classes[present])
    return method.images[present], values


def _by_class(values: np.ndarray, classes: np.ndarray) -> list[np.ndarray]:
    """The parts of :func:`mean_of_class_means`: values of each class, then its indicators."""
    of_class = [(classes == index).astype(float) for index in np.unique(classes)]
    return [values * indicator for indicator in of_class] + of_class


def mean_of_class_means(means: Sequence[np.ndarray]) -> np.ndarray:
    """The mean over classes of the mean over their images; a class without images counts nothing.

    Args:
        means: over all images, of the values of each class, then of its indicators.

    Example:
        >>> values, classes = np.array([1.0, 1.0, 1.0, 0.0]), np.array([5, 5, 5, 8])
        >>> parts = [values * (classes == 5), values * (classes == 8), classes == 5, classes == 8]
        >>> float(mean_of_class_means([part.mean() for part in parts]))
        0.5
    """
    half = len(means) // 2
    with np.errstate(invalid="ignore"):
        of_classes = np.stack(means[:half]) / np.stack(means[half:])
    averaged: np.ndarray = np.nanmean(of_classes, axis=0)
    return averaged


def _p_value(
    best: tuple[np.ndarray, list[np.ndarray]],
    other: tuple[np.ndarray, list[np.ndarray]],
    combine: CombineMeans,
) -> float:
    ours, theirs = _on_shared_images(best, other)
    return permutation_p_value(ours, theirs, combine) if len(ours[0]) else 1.0


def _on_shared_images(
    best: tuple[np.ndarray, list[np.ndarray]], other: tuple[np.ndarray, list[np.ndarray]]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    _, first, second = np.intersect1d(best[0], other[0], return_indices=True)
    return [part[first] for part in best[1]], [part[second] for part in other[1]]
