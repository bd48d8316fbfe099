"""Where things stand in the charts of an evaluation; a template draws them as SVG."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from ttame.reporting.chart_axes import Axis, linear_axis, log_axis
from ttame.reporting.evaluation_standing import (
    comparing_columns,
    is_baseline,
    method_titles,
    score_of,
)
from ttame.reporting.label_places import Box, label_box, place_beside, spread
from ttame.reporting.written_values import number_writer
from ttame.results.evaluation import ColumnFacts, CurvePoint, Evaluation, MethodScores

WIDTH, HEIGHT = 760, 400
"""Of a chart, in its own units."""

LEFT, RIGHT, TOP, BOTTOM = 64, 548, 16, 340
"""Edges of the lines' plot; direct labels stand to its right."""

POINTS_RIGHT = 736
"""The right edge of the points' plot, which needs no room next to it."""

N_COLOURS = 8
LABEL_GAP = 15
LONGEST_LABEL = 26

MARKERS = (
    "M4 0A4 4 0 1 1-4 0A4 4 0 1 1 4 0Z",
    "M-3.6-3.6H3.6V3.6H-3.6Z",
    "M0-4.8L4.6 3.4H-4.6Z",
    "M0-5L5 0L0 5L-5 0Z",
    "M0 4.8L4.6-3.4H-4.6Z",
    "M-1.5-4.8H1.5V-1.5H4.8V1.5H1.5V4.8H-1.5V1.5H-4.8V-1.5H-1.5Z",
    "M-5-2.5L-2.5-5L0-2.5L2.5-5L5-2.5L2.5 0L5 2.5L2.5 5L0 2.5L-2.5 5L-5 2.5L-2.5 0Z",
    "M0-5.2L1.5-1.6L5.2-1.6L2.3 .8L3.3 4.6L0 2.4L-3.3 4.6L-2.3 .8L-5.2-1.6L-1.5-1.6Z",
)
DASHES = ("none", "7 4", "2 3", "9 3 2 3")


@dataclasses.dataclass(frozen=True)
class Style:
    """What tells a method's line from others: no two of the first 32 share all three.

    Attributes:
        colour: the colour of the page's palette; -1 is the quiet colour of baselines.
        marker: an SVG path round the origin.
        dash: the dash of the line.
    """

    colour: int
    marker: str
    dash: str


def method_styles(methods: Sequence[MethodScores]) -> list[Style]:
    """One style a method; baselines are grey and dotted."""
    styles, explaining, baselines = [], 0, 0
    for method in methods:
        if is_baseline(method):
            styles.append(Style(-1, MARKERS[baselines % len(MARKERS)], DASHES[2]))
            baselines += 1
            continue
        group, colour = divmod(explaining, N_COLOURS)
        marker = MARKERS[(colour + group) % len(MARKERS)]
        styles.append(Style(colour, marker, DASHES[group % len(DASHES)]))
        explaining += 1
    return styles


def curve_charts(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One chart for each metric that has curves, in the order of the columns."""
    names = {name: None for method in evaluation.methods for name in method.curves}
    order = {column.metric: place for place, column in reversed([*enumerate(evaluation.columns)])}
    ordered = sorted(names, key=lambda name: order.get(name, len(order)))
    charts = (_curve_chart(evaluation, name) for name in ordered)
    return [chart for chart in charts if chart["lines"]]


def cost_chart(evaluation: Evaluation) -> dict[str, Any] | None:
    """Time per image against each column that compares methods; ``None`` without any."""
    times = [method.cost.milliseconds for method in evaluation.methods]
    measured = [time for time in times if time > 0]
    columns = comparing_columns(evaluation)
    if not measured or not columns:
        return None
    across = log_axis(measured, LEFT, POINTS_RIGHT)
    return {
        "x_ticks": across.ticks,
        "columns": [_cost_column(evaluation, column, across) for column in columns],
    }


def sparkline(steps: Sequence[tuple[int, float]], width: int = 120, height: int = 28) -> str:
    """The points of a small line from 1 at the top to 0 at the bottom, as SVG takes them.

    Negative similarities count as 0: maps that are opposite have changed as well.

    Example:
        >>> sparkline([(0, 1.0), (10, 0.0)], 100, 22)
        '2,2 98,20'
    """
    known = [(layers, value) for layers, value in steps if math.isfinite(value)]
    if not known:
        return ""
    first, last = known[0][0], known[-1][0]
    span = (last - first) or 1
    return " ".join(
        f"{_short(2 + (layers - first) / span * (width - 4))},"
        f"{_short(2 + (1 - min(1.0, max(0.0, value))) * (height - 4))}"
        for layers, value in known
    )


def _curve_chart(evaluation: Evaluation, name: str) -> dict[str, Any]:
    curves = [_finite(method.curves.get(name, ())) for method in evaluation.methods]
    points = [point for curve in curves for point in curve]
    if not points:
        return {"lines": []}
    facts = next((column for column in evaluation.columns if column.metric == name), None)
    across = linear_axis([point.x for point in points], LEFT, RIGHT)
    up = linear_axis(
        [0.0, *(value for point in points for value in (point.low, point.high))], BOTTOM, TOP
    )
    lines = [_line(number, curve, across, up) for number, curve in enumerate(curves) if curve]
    titles = list(method_titles(evaluation).values())
    places = spread([line["end"][1] for line in lines], LABEL_GAP, TOP, BOTTOM)
    for line, place in zip(lines, places, strict=True):
        line |= {"label": shortened(titles[line["number"]]), "label_y": _short(place)}
    return {
        "title": _curve_title(evaluation, name),
        "measures": facts.measures if facts else "",
        "over": facts.curve_over if facts else "% of the pixels",
        "x_ticks": across.ticks,
        "y_ticks": up.ticks,
        "lines": lines,
        "numbers": _curve_numbers(curves, titles),
    }


def _curve_title(evaluation: Evaluation, name: str) -> str:
    titles = [column.title for column in evaluation.columns if column.metric == name]
    return titles[0] if len(titles) == 1 else name.replace("_", " ").capitalize()


def _line(number: int, curve: Sequence[CurvePoint], across: Axis, up: Axis) -> dict[str, Any]:
    spots = [(across.place(point.x), up.place(point.value)) for point in curve]
    above = [(across.place(point.x), up.place(point.high)) for point in curve]
    below = [(across.place(point.x), up.place(point.low)) for point in curve]
    # Many points would hide the line behind its own markers.
    stride = max(1, round(len(spots) / 8))
    return {
        "number": number,
        "points": _points(spots),
        "band": _points([*above, *reversed(below)]),
        "markers": [(_short(x), _short(y)) for x, y in spots[stride // 2 :: stride]],
        "end": spots[-1],
    }


def _curve_numbers(curves: Sequence[Sequence[CurvePoint]], titles: Sequence[str]) -> dict[str, Any]:
    """The same as a table: at most twelve places of the curve."""
    places = sorted({point.x for curve in curves for point in curve})
    places = places[:: max(1, math.ceil(len(places) / 12))]
    write = number_writer([point.value for curve in curves for point in curve])
    rows = []
    for title, curve in zip(titles, curves, strict=True):
        values = {point.x: point.value for point in curve}
        if curve:
            rows.append((title, [write(values.get(place)) for place in places]))
    return {"places": [f"{place:g}" for place in places], "rows": rows}


def _cost_column(evaluation: Evaluation, column: ColumnFacts, across: Axis) -> dict[str, Any]:
    titles = method_titles(evaluation)
    shown = [
        (number, method, score)
        for number, method in enumerate(evaluation.methods)
        if (score := score_of(method, column.key)) and method.cost.milliseconds > 0
    ]
    ends = [end for _, _, score in shown for end in (score.value, score.low, score.high)]
    up = linear_axis([end for end in ends if math.isfinite(end)], BOTTOM, TOP)
    spots = [
        (across.place(method.cost.milliseconds), up.place(score.value))
        for _, method, score in shown
    ]
    labels = _cost_labels([shortened(titles[method.name]) for _, method, _ in shown], spots)
    write = number_writer([score.value for _, _, score in shown], column.unit)
    return {
        "title": column.title,
        "unit": column.unit,
        "better": column.better,
        "y_ticks": up.ticks,
        "points": [
            {
                "number": number,
                "x": _short(x),
                "y": _short(y),
                "low": _short(up.place(score.low if math.isfinite(score.low) else score.value)),
                "high": _short(up.place(score.high if math.isfinite(score.high) else score.value)),
                "hint": f"{titles[method.name]}: {write(score.value)} {column.unit}".rstrip()
                + f", {method.cost.milliseconds:.3g} ms per {evaluation.called.image}",
                **label,
            }
            for (number, method, score), (x, y), label in zip(shown, spots, labels, strict=True)
        ],
    }


def _cost_labels(
    names: Sequence[str], spots: Sequence[tuple[float, float]]
) -> list[dict[str, Any]]:
    edges = Box(LEFT, TOP - 8, POINTS_RIGHT + 20, BOTTOM)
    taken = [Box(x - 6, y - 6, x + 6, y + 6) for x, y in spots]
    labels = []
    for name, (x, y) in zip(names, spots, strict=True):
        box = place_beside((x, y), label_box(name), taken, edges)
        taken.append(box)
        middle = (box.top + box.bottom) / 2
        # A label that found no place next to its point is tied to it by a line.
        near_x = min(max(x, box.left), box.right)
        far = math.dist((x, y), (near_x, min(max(y, box.top), box.bottom))) > 14
        labels.append(
            {
                "label": name,
                "label_x": _short(box.left),
                "label_y": _short(middle),
                "leader": f"M{_short(x)} {_short(y)}L{_short(near_x)} {_short(middle)}"
                if far
                else "",
            }
        )
    return labels


def shortened(title: str, most: int = LONGEST_LABEL) -> str:
    """Cut a long title, so that it fits next to its line.

    Example:
        >>> shortened("Guided Grad-CAM", 8)
        'Guided …'
    """
    return title if len(title) <= most else f"{title[: most - 1]}…"


def _finite(curve: Sequence[CurvePoint]) -> list[CurvePoint]:
    """The points that have a value; one without interval gets an empty one."""
    return [
        CurvePoint(
            point.x,
            point.value,
            point.low if math.isfinite(point.low) else point.value,
            point.high if math.isfinite(point.high) else point.value,
        )
        for point in sorted(curve, key=lambda point: point.x)
        if math.isfinite(point.value)
    ]


def _points(spots: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{_short(x)},{_short(y)}" for x, y in spots)


def _short(place: float) -> str:
    return f"{place:.1f}".removesuffix(".0")
