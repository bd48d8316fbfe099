"""Small line charts for the documentation, as one SVG that reads on light and dark pages."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from html import escape

from ttame.reporting.chart_axes import linear_axis
from ttame.reporting.label_places import spread

WIDTH, HEIGHT = 430, 330
LEFT, RIGHT, TOP, BOTTOM = 46, 290, 34, 290
COLOURS = ("#4477aa", "#ee6677", "#228833", "#aa8800", "#3399bb", "#aa3377", "#777777", "#bb5500")
LABEL_GAP = 14


@dataclasses.dataclass(frozen=True)
class Line:
    """A name and its (x, y) points."""

    name: str
    points: Sequence[tuple[float, float]]


def line_chart(
    panels: Sequence[tuple[str, Sequence[Line]]], below: str, highlighted: str, columns: int = 2
) -> str:
    """Draw panels in rows; the highlighted line is black and thick, every line is named.

    Args:
        panels: title and lines of each.
        below: what the x axis means.
        highlighted: name of a line.
        columns: panels in a row.
    """
    rows = -(-len(panels) // columns)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {columns * WIDTH} {rows * HEIGHT}" '
        f'width="{columns * WIDTH}" font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for number, (title, lines) in enumerate(panels):
        across, down = (number % columns) * WIDTH, (number // columns) * HEIGHT
        parts.append(f'<g transform="translate({across},{down})">')
        parts += _panel(title, lines, below, highlighted)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>\n"])


def _panel(title: str, lines: Sequence[Line], below: str, highlighted: str) -> list[str]:
    across = linear_axis([x for line in lines for x, _ in line.points], LEFT, RIGHT)
    upward = linear_axis([y for line in lines for _, y in line.points], BOTTOM, TOP)
    parts = [f'<text x="{LEFT}" y="18" font-size="13" fill="#111">{escape(title)}</text>']
    for tick in upward.ticks:
        parts.append(f'<path d="M{LEFT} {tick.place}H{RIGHT}" stroke="#e3e3e3"/>')
        parts.append(
            f'<text x="{LEFT - 6}" y="{tick.place + 4}" text-anchor="end" fill="#555">'
            f"{tick.label}</text>"
        )
    for tick in across.ticks:
        parts.append(
            f'<text x="{tick.place}" y="{BOTTOM + 16}" text-anchor="middle" fill="#555">'
            f"{tick.label}</text>"
        )
    middle = (LEFT + RIGHT) / 2
    parts.append(
        f'<text x="{middle}" y="{BOTTOM + 32}" text-anchor="middle" fill="#555">'
        f"{escape(below)}</text>"
    )
    ends = [upward.place(line.points[-1][1]) for line in lines]
    labels = spread(ends, LABEL_GAP, TOP, BOTTOM)
    for number, (line, label) in enumerate(zip(lines, labels, strict=True)):
        parts += _line(line, number, across.place, upward.place, label, highlighted)
    return parts


def _line(
    line: Line, number: int, across: object, upward: object, label: float, highlighted: str
) -> list[str]:
    assert callable(across) and callable(upward)
    main = line.name == highlighted
    colour = "#111111" if main else COLOURS[number % len(COLOURS)]
    places = [(across(x), upward(y)) for x, y in line.points]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    width, weight = (3, "bold") if main else (1.4, "normal")
    last_x, last_y = places[-1]
    return [
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>',
        f'<path d="M{last_x + 2:.1f} {last_y:.1f}L{RIGHT + 12} {label:.1f}" stroke="{colour}" '
        'stroke-width=".6"/>',
        f'<text x="{RIGHT + 15}" y="{label + 4:.1f}" fill="{colour}" font-weight="{weight}">'
        f"{escape(line.name)}</text>",
    ]
