"""The table of an evaluation, ready to be drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ttame.reporting.evaluation_standing import (
    comparing_columns,
    is_baseline,
    method_titles,
    score_of,
    standing,
)
from ttame.reporting.written_values import MISSING, WriteNumber, number_writer
from ttame.results.evaluation import Called, ColumnFacts, Evaluation, MethodScores, Score

COSTS = (
    ("forward", "forward", "passes of the whole network per {image}"),
    ("backward", "backward", "backward passes per {image}"),
    ("tail", "tail", "runs of only the end of the network, per {image}"),
    (
        "milliseconds",
        "time",
        "milliseconds per {image} for the maps alone, the median of the batches",
    ),
    (
        "peak_megabytes",
        "memory",
        "megabytes of tensors alive at once beyond weights and {images}, for one batch",
    ),
)
"""Attribute, heading and meaning of what maps cost, but for what is measured."""

_COST_UNITS = {"milliseconds": "ms", "peak_megabytes": "MB"}
_DIRECTIONS = {
    "higher": ("↑", "higher is better", "descending"),
    "lower": ("↓", "lower is better", "ascending"),
    "neither": ("", "neither higher nor lower is better", "descending"),
}


def table_columns(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One record a column: scores first, then costs."""
    costs = [_cost_column(cost, evaluation.called) for cost in COSTS]
    columns = [*map(_score_column, evaluation.columns), *costs]
    for column in comparing_columns(evaluation)[:1]:
        # How table_rows has sorted the rows.
        place = evaluation.columns.index(column)
        columns[place]["sorted"] = columns[place]["order"]
    return columns


def table_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One record a method, the best of the first comparing column on top."""
    titles = method_titles(evaluation)
    comparing = comparing_columns(evaluation)
    keys = {column.key for column in comparing}
    columns = [_cells(evaluation, column, column.key in keys) for column in evaluation.columns]
    costs = [_cost_cells(evaluation, attribute) for attribute, *_ in COSTS]
    rows = [
        {
            "number": number,
            "title": titles[method.name],
            "family": method.family,
            "baseline": is_baseline(method),
            "constant": _constant_maps(method, evaluation.images),
            "cells": [column[number] for column in columns],
            "costs": [column[number] for column in costs],
        }
        for number, method in enumerate(evaluation.methods)
    ]
    if not comparing:
        return rows
    place = evaluation.columns.index(comparing[0])
    return sorted(rows, key=lambda row: _sort_key(row["cells"][place]["sort"], comparing[0]))


def column_meanings(columns: Iterable[ColumnFacts]) -> list[dict[str, Any]]:
    """What the columns mean, those of one metric together."""
    meanings: dict[tuple[str, str], dict[str, Any]] = {}
    for column in columns:
        arrow, direction, _ = _DIRECTIONS[column.better]
        entry = meanings.setdefault(
            (column.metric, column.measures),
            {
                "titles": [],
                "measures": column.measures,
                "paper": column.paper,
                "direction": f"{arrow} {direction}".strip(),
            },
        )
        entry["titles"].append(column.title)
    return list(meanings.values())


def _score_column(column: ColumnFacts) -> dict[str, Any]:
    arrow, direction, order = _DIRECTIONS[column.better]
    return {
        "title": column.title,
        "arrow": arrow,
        "direction": direction,
        "unit": column.unit,
        "order": order,
        "sorted": "",
        "hint": f"{column.measures} {direction.capitalize()}. {column.paper}".strip(),
    }


def _cost_column(cost: tuple[str, str, str], called: Called) -> dict[str, Any]:
    attribute, title, meaning = cost[0], cost[1], _of(called, cost[2])
    return {
        "title": title,
        "arrow": "",
        "direction": "lower is cheaper",
        "unit": _COST_UNITS.get(attribute, ""),
        "order": "ascending",
        "sorted": "",
        "hint": f"{meaning[0].upper()}{meaning[1:]}.",
    }


def _cells(evaluation: Evaluation, column: ColumnFacts, compares: bool) -> list[dict[str, Any]]:
    titles = method_titles(evaluation)
    scores = [score_of(method, column.key) for method in evaluation.methods]
    published = [method.published.get(column.key) for method in evaluation.methods]
    write = number_writer([score.value if score else None for score in scores], column.unit)
    return [
        _cell(score, number, write, compares, evaluation, f"{title}, {column.title}")
        for score, number, title in zip(scores, published, titles.values(), strict=True)
    ]


def _cell(
    score: Score | None,
    published: float | None,
    write: WriteNumber,
    compares: bool,
    evaluation: Evaluation,
    called: str,
) -> dict[str, Any]:
    cell: dict[str, Any] = {
        "sort": "",
        "value": MISSING,
        "interval": "",
        "rank": 0,
        "standing": "",
        "published": "" if published is None else write(published),
        "images": "",
        "hint": f"{called}: not measured.",
    }
    images = evaluation.called.images
    if score is not None:
        cell |= {
            "sort": repr(score.value),
            "value": write(score.value),
            "interval": _interval(score, write),
            "rank": score.rank,
            "standing": standing(score) if compares else "",
            "images": f"{score.images} {images}" if score.images != evaluation.images else "",
            "hint": _hint(score, write, compares, called, images),
        }
    return cell


def _hint(score: Score, write: WriteNumber, compares: bool, called: str, images: str) -> str:
    """What a cell says, in words."""
    interval = _interval(score, write)
    parts = [f"{called}: {write(score.value)}, over {score.images} {images}"]
    if interval:
        parts.append(f"95 % of resampled sets of {images} give {interval}")
    if compares and score.rank:
        parts.append(f"rank {score.rank}")
    if compares and standing(score) == "level":
        parts.append(f"not significantly different from the best{_p_value(score)}")
        if score.images_needed > score.images:
            more = score.images_needed - score.images
            parts.append(f"about {more} more {images} would separate it from the best")
    elif compares and standing(score) == "" and score.rank:
        parts.append(f"significantly worse than the best{_p_value(score)}")
    return f"{'; '.join(parts)}."


def _p_value(score: Score) -> str:
    return f" (p = {score.p_value:.2g})" if score.p_known else ""


def _interval(score: Score, write: WriteNumber) -> str:
    if math.isnan(score.low) or math.isnan(score.high):
        return ""
    return f"{write(score.low)} to {write(score.high)}"


def _of(called: Called, meaning: str) -> str:
    return meaning.format(image=called.image, images=called.images)


def _cost_cells(evaluation: Evaluation, attribute: str) -> list[dict[str, str]]:
    methods = evaluation.methods
    # Counts may be whole numbers, or the same as floats where they were read from JSON.
    values = [float(getattr(method.cost, attribute)) for method in methods]
    meaning = _of(evaluation.called, next(text for name, _, text in COSTS if name == attribute))
    return [
        {
            "sort": "" if math.isnan(value) else repr(value),
            "value": _cost(value),
            "hint": f"{method.title}: {_cost(value)} {meaning}.",
        }
        for method, value in zip(methods, values, strict=True)
    ]


def _cost(value: float) -> str:
    """Costs span five orders of magnitude in one column: three digits each.

    Example:
        >>> _cost(0.01234), _cost(7.0), _cost(12345.6)
        ('0.0123', '7', '12 346')
    """
    if math.isnan(value):
        return MISSING
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 1000 else f"{value:.3g}"


def _sort_key(sort: str, column: ColumnFacts) -> tuple[bool, float]:
    if not sort:
        return True, 0.0
    return False, -float(sort) if column.better == "higher" else float(sort)


def _constant_maps(method: MethodScores, images: int) -> str:
    if not method.no_evidence:
        return ""
    return f"{method.no_evidence} of {images} maps constant"
