"""Options that are checked when they are read, and problems told in one line on stderr."""

from __future__ import annotations

import argparse
import contextlib
import math
import re
from collections.abc import Callable, Iterator
from typing import NoReturn

from ttame.errors import TtameError


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage above it."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and exit with 2."""
        self.exit(2, f"{self.prog}: error: {message}; --help says what there is\n")


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """A reader of whole numbers between two limits, both allowed.

    Example:
        >>> whole_number(1)("12")
        12
    """
    allowed = f"a whole number from {least} on" if most is None else f"{least} to {most}"

    def read(text: str) -> int:
        number = int(text) if re.fullmatch(r"[+-]?[0-9]+", text) else None
        if number is None or number < least or (most is not None and number > most):
            raise argparse.ArgumentTypeError(f"{text!r}; allowed: {allowed}")
        return number

    return read


def finite_number(
    least: float, most: float = math.inf, *, above: bool = False
) -> Callable[[str], float]:
    """A reader of finite numbers between two limits, with ``above`` larger than the lower one.

    Example:
        >>> finite_number(0, 1)("0.35")
        0.35
    """
    allowed = f"a number {'above' if above else 'from'} {least}"
    allowed += "" if math.isinf(most) else f" to {most}"

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (least <= value <= most and math.isfinite(value)) or (above and value == least):
            raise argparse.ArgumentTypeError(f"{text!r}; allowed: {allowed}")
        return value

    return read


def part_of_all(text: str) -> tuple[int, int]:
    """Read ``i/n``, the i-th of n parts, counted from 0.

    Example:
        >>> part_of_all("1/4")
        (1, 4)
    """
    found = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    if found is None or int(found[1]) >= int(found[2]):
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: i/n with i from 0 to n - 1")
    return int(found[1]), int(found[2])


@contextlib.contextmanager
def problems_in_one_line() -> Iterator[None]:
    """Turn what the machine or the data refuse into the last line of a script, without traceback.

    Raises:
        SystemExit: ttame or the operating system raised an error inside the block.

    Example:
        >>> with problems_in_one_line():
        ...     open("nowhere/nothing.txt")
        Traceback (most recent call last):
        SystemExit: error: No such file or directory: nowhere/nothing.txt
    """
    try:
        yield
    except TtameError as problem:
        raise SystemExit(f"error: {problem}") from problem
    except OSError as problem:
        place = "" if problem.filename is None else f": {problem.filename}"
        raise SystemExit(f"error: {problem.strerror or problem}{place}") from problem
