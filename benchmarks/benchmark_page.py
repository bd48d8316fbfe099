"""BENCHMARKS.md: one section per script, with the machine and the date."""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ttame.evaluation.evaluate_methods import machine_in_words

PAGE = Path(__file__).parent.parent / "BENCHMARKS.md"
_TITLE = "# Benchmarks\n\nEvery number here was written by the script named next to it.\n"


def write_section(name: str, title: str, command: str, body: str) -> None:
    """Replace the section ``name`` of BENCHMARKS.md, or append it."""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    measured = f"`{command}`, {today}, {machine_in_words()}."
    section = f"{start}\n## {title}\n\n{measured}\n\n{body.strip()}\n{end}"
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else _TITLE
    pattern = re.compile(re.escape(start) + ".*?" + re.escape(end), re.DOTALL)
    if pattern.search(page):
        page = pattern.sub(lambda _: section, page)
    else:
        page = page.rstrip() + "\n\n" + section + "\n"
    PAGE.write_text(page, encoding="utf-8")
    print(section)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    lines = ["| " + " | ".join(header) + " |", "|---" + "|---:" * (len(header) - 1) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def interleaved_seconds(
    runs: dict[str, Callable[[], object]],
    repeats: int,
    warm_up: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Time several functions in turns, so that a slow moment of the machine hits all of them.

    With ``time.process_time`` as the clock, functions of one thread are timed as if nothing else
    ran on the machine, but for what others do to its caches.
    """
    for _ in range(warm_up):
        for run in runs.values():
            run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = clock()
            run()
            seconds[name].append(clock() - start)
    return seconds


def median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median over the rounds of one duration over the other of the same round."""
    return median([first / second for first, second in zip(above, below, strict=True)])


def median(values: Sequence[float]) -> float:
    """The middle value."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
