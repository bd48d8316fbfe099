"""Numbers and settings as people read them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

MISSING = "–"
"""Stands where a number is missing."""

WriteNumber = Callable[[float | None], str]


def number_writer(values: Iterable[float | None], unit: str = "") -> WriteNumber:
    """Return a function that writes numbers with as many digits as fit all ``values``.

    Args:
        values: that stand below each other; missing ones are ``None`` or NaN.
        unit: ``"%"`` asks for one decimal.

    Example:
        >>> write = number_writer([0.1234, -0.5])
        >>> write(0.1234), write(-0.5), write(None)
        ('0.123', '−0.500', '–')
    """
    sizes = [abs(value) for value in values if value is not None and math.isfinite(value)]
    pattern = _pattern(max(sizes, default=0.0), unit)

    def write(value: float | None) -> str:
        if value is None or math.isnan(value):
            return MISSING
        # A minus before nothing but zeros says nothing.
        text = format(value, pattern)
        is_zero = not text.strip("-0.")
        return text.lstrip("-") if is_zero else text.replace("-", "−")

    return write


def _pattern(largest: float, unit: str) -> str:
    if largest >= 1e6 or 0 < largest < 0.005:
        return ".2e"
    if unit == "%":
        return ".1f"
    for least, decimals in ((1000, 0), (100, 1), (1, 2)):
        if largest >= least:
            return f".{decimals}f"
    return ".3f"


def enumeration(words: Iterable[str]) -> str:
    """Join words as a sentence does.

    Example:
        >>> enumeration(["a"]), enumeration(["a", "b"]), enumeration(["a", "b", "c"])
        ('a', 'a and b', 'a, b and c')
    """
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def in_words(value: Any) -> str:
    """Write a setting, whatever it holds, on one line.

    Example:
        >>> in_words({"layers": [3, 4], "seed": None})
        'layers 3, 4, seed None'
    """
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {in_words(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(in_words(part) for part in value)
    return str(value)
