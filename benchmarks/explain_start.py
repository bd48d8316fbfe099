"""How long, and with how much memory, `ttame` starts and explains one photo, next to another one.

Both checkouts run in alternating pairs, each command in a process of its own, so that whatever else
the machine does hits both alike. Of every pair the ratio of ours to the other is taken: its median,
with the interval that 95 of 100 such measurements would have around the true median.

python -m benchmarks.explain_start --against FOLDER

With fewer than six pairs there is no such interval, and nothing is written to BENCHMARKS.md.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from benchmarks.benchmark_page import median, table, write_section

OURS = Path(__file__).parents[1]
FEWEST_PAIRS = 6
"""With 5, the lowest and the highest ratio hold the median 94 times of 100."""
LONGEST = 600  # seconds that a command may take

FIGURES = {"wall": "s", "user CPU": "s", "peak memory": "MB"}


_MEASURING = """
import resource, subprocess, sys, time
start = time.perf_counter()
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
wall = time.perf_counter() - start
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(wall, used.ru_utime, used.ru_maxrss)
sys.exit(status)
"""
"""A small process in between: on Linux, the peak of a child starts at the size of its parent."""


class Usage(NamedTuple):
    """What a process took: seconds, seconds of user CPU, and its largest resident memory in MB."""

    wall: float
    user: float
    peak: float


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--against", type=Path, required=True, help="the other checkout")
    parser.add_argument("--pairs", type=int, default=15)
    typed = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        rows = [
            row
            for name, arguments in commands(Path(place)).items()
            for row in compared(name, arguments, typed.against, typed.pairs)
        ]
    header = ["command", "", "ours", "other", "ours / other", "95 % interval"]
    body = table(header, rows) + (
        f"\n\nMedians of {typed.pairs} pairs after one run of each to warm up; the ratio is the "
        f"median of the pairs' ratios. The other checkout is `{revision(typed.against)}`, ours "
        f"`{revision(OURS)}`."
    )
    if typed.pairs < FEWEST_PAIRS:
        print(body)
        return
    command = f"python -m benchmarks.explain_start --against {typed.against.name}"
    write_section("explain-start", "One photo, next to an earlier version", command, body)


def commands(place: Path) -> dict[str, list[str]]:
    """What is measured: name to what is typed behind ``python``."""
    photo = place / "photo.png"
    Image.effect_mandelbrot((640, 480), (-2, -1.5, 1, 1.5), 100).convert("RGB").save(photo)
    out = ["--out", str(place / "why"), "--overwrite"]
    return {
        "import ttame": ["-c", "import ttame"],
        "ttame --help": ["-m", "ttame", "--help"],
        "ttame explain, one photo": ["-m", "ttame", "explain", str(photo), *out],
    }


def compared(name: str, arguments: list[str], other: Path, pairs: int) -> list[list[str]]:
    """A row of the table for each figure of a command."""
    usages: dict[Path, list[Usage]] = {OURS: [], other: []}
    for checkout in usages:
        refuse_other_source(checkout)
        usage(checkout, arguments)
    for pair in range(pairs):
        # Whoever comes second may find the machine warmer.
        for checkout in (OURS, other) if pair % 2 == 0 else (other, OURS):
            usages[checkout].append(usage(checkout, arguments))
    rows = []
    for place, (figure, unit) in enumerate(FIGURES.items()):
        ours, others = ([each[place] for each in usages[checkout]] for checkout in (OURS, other))
        ratios = [first / second for first, second in zip(ours, others, strict=True)]
        interval = median_interval(ratios)
        between = f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "too few pairs"
        medians = [f"{median(values):.3g} {unit}" for values in (ours, others)]
        rows.append([name, figure, *medians, f"{median(ratios):.3f}", between])
    return rows


def usage(checkout: Path, arguments: Sequence[str]) -> Usage:
    """Run Python with a checkout's ttame, and see what it takes.

    Raises:
        RuntimeError: the command failed.
    """
    ended = subprocess.run(
        [sys.executable, "-S", "-c", _MEASURING, sys.executable, *arguments],
        env=_environment(checkout),
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
    )
    if ended.returncode:
        raise RuntimeError(f"{arguments} in {checkout}: {ended.stderr[-1000:]}")
    wall, user, peak = map(float, ended.stdout.split())
    return Usage(wall, user, peak / 1024)


def refuse_other_source(checkout: Path) -> None:
    """Make sure that it is the checkout which runs, not an installed ttame.

    Raises:
        RuntimeError: it is not.
    """
    found = subprocess.run(
        [sys.executable, "-c", "import ttame; print(ttame.__file__)"],
        env=_environment(checkout),
        capture_output=True,
        text=True,
        check=True,
        timeout=LONGEST,
    ).stdout.strip()
    if not Path(found).is_relative_to(checkout.resolve()):
        raise RuntimeError(f"{checkout} is not what runs, but {found}")


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The narrowest pair of values, equally far from both ends, that hold the median at 95 %.

    It assumes nothing but independence: each value is above the median as often as below, so that
    k of n values are below it with probability C(n, k) / 2ⁿ. ``None`` where even the lowest and
    the highest value do not hold it that often.
    """
    ordered, count = sorted(values), len(values)
    outside, best = 0.0, None
    for place in range(count // 2):
        outside += 2 * math.comb(count, place) / 2**count
        if outside > 0.05:
            break
        best = ordered[place], ordered[count - 1 - place]
    return best


def revision(checkout: Path) -> str:
    """The commit of a checkout, in a few letters."""
    return subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def _environment(checkout: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(checkout.resolve() / "src")}


if __name__ == "__main__":
    main()
