"""Axes of charts: from values to places, with ticks at round numbers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Tick:
    """A mark on an axis: where it stands, and what is written there."""

    place: float
    label: str


@dataclasses.dataclass(frozen=True)
class Axis:
    """From values between ``first`` and ``last`` to places between ``start`` and ``end``.

    Attributes:
        first: the value at ``start``.
        last: the value at ``end``.
        start: a place.
        end: another one, which may be smaller: charts grow upwards, pictures downwards.
        ticks: the marks.
        scale: the scale of the values.
    """

    first: float
    last: float
    start: float
    end: float
    ticks: tuple[Tick, ...] = ()
    scale: Literal["linear", "log"] = "linear"

    def place(self, value: float) -> float:
        """Where a value stands."""
        first, last = self.first, self.last
        if self.scale == "log":
            first, last, value = math.log10(first), math.log10(last), math.log10(value)
        return self.start + (value - first) / (last - first) * (self.end - self.start)


def linear_axis(values: Sequence[float], start: float, end: float, most_ticks: int = 6) -> Axis:
    """An axis whose ends are round numbers that enclose all values.

    Example:
        >>> axis = linear_axis([0.0, 0.87], 0, 100)
        >>> [tick.label for tick in axis.ticks], axis.place(0.5)
        (['0', '0.2', '0.4', '0.6', '0.8', '1'], 50.0)
    """
    lowest, highest = min(values), max(values)
    if lowest == highest:
        room = abs(lowest) / 2 or 1.0
        lowest, highest = lowest - room, highest + room
    step = _round_step((highest - lowest) / (most_ticks - 1))
    first, last = math.floor(lowest / step + 1e-9), math.ceil(highest / step - 1e-9)
    axis = Axis(first * step, last * step, start, end)
    ticks = tuple(
        Tick(round(axis.place(number * step), 1), f"{number * step:.6g}".replace("-", "−"))
        for number in range(first, last + 1)
    )
    return dataclasses.replace(axis, ticks=ticks)


def log_axis(values: Sequence[float], start: float, end: float) -> Axis:
    """A logarithmic axis with a little room round the values, all above 0.

    Example:
        >>> [tick.label for tick in log_axis([0.8, 2500.0], 0, 100).ticks]
        ['1', '10', '100', '1 000']
    """
    first, last = min(values) / 1.4, max(values) * 1.4
    axis = Axis(first, last, start, end, scale="log")
    decades = range(math.floor(math.log10(first)), math.ceil(math.log10(last)) + 1)
    # Decades alone would be hardly any ticks where all values are close to each other.
    for parts in ((1,), (1, 2, 5), range(1, 10)):
        marks = [part * 10.0**decade for decade in decades for part in parts]
        shown = [mark for mark in marks if first <= mark <= last]
        if len(shown) > 2:
            break
    ticks = tuple(
        Tick(round(axis.place(mark), 1), f"{mark:,.10g}".replace(",", " ")) for mark in shown
    )
    return dataclasses.replace(axis, ticks=ticks)


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is at least ``least``."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(part * power for part in (1, 2, 2.5, 5, 10) if part * power >= least * (1 - 1e-9))
