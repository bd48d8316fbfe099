"""Columns of methods next to the trained explainer: means, intervals, and paired tests."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from benchmarks.few_shot_plans import Part
from benchmarks.few_shot_study import Rows
from benchmarks.operating_points import TRAINED
from ttame.evaluation.paired_statistics import corrected
from ttame.evaluation.summary import scores_of
from ttame.metrics.known_metrics import columns_of, known_metrics

LEVEL = 0.05


@dataclasses.dataclass(frozen=True)
class Cell:
    """A method's number, its interval, and the test against the trained explainer.

    Attributes:
        behind: by how much the trained explainer's mean is worse; negative where it is better.
        p_value: corrected; 1 for the trained explainer itself.
    """

    value: float
    low: float
    high: float
    images: int
    behind: float
    p_value: float

    @property
    def told_apart(self) -> bool:
        return self.p_value < LEVEL


@dataclasses.dataclass(frozen=True)
class ComparedColumn:
    """A column of a table: method to cell."""

    key: str
    metric: str
    title: str
    better: str
    unit: str
    cells: Mapping[str, Cell]

    def words(self, value: float) -> str:
        return f"{value:.1f}" if self.unit == "%" else f"{value:.3f}"


def compared(rows: Rows, part: Part) -> list[ComparedColumn]:
    """Columns of a part: intervals, and paired tests of the trained explainer against each method.

    Holm's correction is over the methods of a column.
    """
    columns = columns_of(known_metrics(part.metrics), part.protocol)
    found = []
    for key, (metric, column) in columns.items():
        pairs = {
            name: scores_of([rows[TRAINED], method], metric, column)
            for name, method in rows.items()
        }
        labels = {name: method.label for name, method in rows.items()}
        others = [name for name in pairs if name != TRAINED and labels[name] in pairs[name]]
        own = pairs[TRAINED].get(labels[TRAINED])
        if own is None:
            continue
        # Of a pair, the better one has p = 1.
        raw = [min(score.p_value for score in pairs[name].values()) for name in others]
        p_values = {TRAINED: 1.0, **dict(zip(others, corrected(raw), strict=True))}
        sign = -1 if metric.better == "higher" else 1
        cells = {}
        for name, p_value in p_values.items():
            score = pairs[name][labels[name]]
            behind = sign * (own.value - score.value)
            cells[name] = Cell(score.value, score.low, score.high, score.images, behind, p_value)
        found.append(
            ComparedColumn(key, metric.name, column.title, metric.better, metric.unit, cells)
        )
    return found
