"""What a notebook shows of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ttame.notebook.cards import MOST_CHARACTERS, card, escaped, line, table

_TIED = 0.05
"""Corrected p-value from which a method is not significantly different from the best."""

_LEGEND = (
    "Mean over 95 % bootstrap interval. Bold: the best. ~: not significantly different from it "
    "(paired test, corrected for the number of methods)."
)


class _Column(Protocol):
    @property
    def key(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def better(self) -> str: ...
    @property
    def unit(self) -> str: ...


class _Score(Protocol):
    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def rank(self) -> int: ...
    @property
    def p_value(self) -> float: ...


class _Cost(Protocol):
    @property
    def milliseconds(self) -> float: ...


class _Method(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def scores(self) -> Mapping[str, _Score]: ...
    @property
    def cost(self) -> _Cost: ...


def evaluation_card(
    columns: Sequence[_Column], methods: Sequence[_Method], words: Sequence[str], per: str = "image"
) -> str:
    """The table of an evaluation as a card of HTML; rows that do not fit are counted.

    Args:
        columns: the columns of the table.
        methods: its rows.
        words: the title, then lines for below the table.
        per: what times are of.
    """
    headings = ["method", *(column.title + _arrow(column) for column in columns), f"ms per {per}"]
    rows: list[list[str]] = []
    characters = 0
    for method in _ordered(columns, methods):
        row = _row(method, columns)
        characters += sum(map(len, row)) + 60 * len(row)
        if characters > 0.8 * MOST_CHARACTERS:
            break
        rows.append(row)
    left_out = len(methods) - len(rows)
    below = (*words[1:], _LEGEND, f"and {left_out} more methods" if left_out else "")
    return card(words[0], table(headings, rows), *(line(text[:600]) for text in below))


def _row(method: _Method, columns: Sequence[_Column]) -> list[str]:
    scores = [_cell(method.scores.get(column.key), column.unit) for column in columns]
    return [escaped(method.name), *scores, f"{method.cost.milliseconds:.0f}"]


def _cell(score: _Score | None, unit: str) -> str:
    if score is None:
        return "–"
    low, value, high = (_number(number, unit) for number in (score.low, score.value, score.high))
    if score.rank == 1:
        value = f"<b>{value}</b>"
    elif score.rank and score.p_value >= _TIED:
        value = f"~ {value}"
    return f'{value}<br><span class="faint">{low} to {high}</span>'


def _number(value: float, unit: str) -> str:
    return f"{value:.1f}" if unit == "%" else f"{value:.3f}"


def _arrow(column: _Column) -> str:
    return {"higher": " ↑", "lower": " ↓"}.get(column.better, "")


def _ordered(columns: Sequence[_Column], methods: Sequence[_Method]) -> list[_Method]:
    """The best in the first column that is better or worse comes first."""
    ranked = [column.key for column in columns if column.better != "neither"]

    def place(method: _Method) -> int:
        score = method.scores.get(ranked[0]) if ranked else None
        return (score.rank if score else 0) or len(methods) + 1

    return sorted(methods, key=place)
