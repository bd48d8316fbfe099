"""Attack ttame in every way that is known here, count what broke, and note it in BENCHMARKS.md.

::

    python -m benchmarks.reliability                  # all, half an hour on two quiet processors
    python -m benchmarks.reliability --only interrupts --only "damaged files 1"

What a part has found is kept in ``build/reliability.json`` when it ends. A run that was stopped
goes on with the parts that are missing, or that failed, or that ran on other code; ``--only`` runs
its parts in any case. Whenever there are rows of all parts, BENCHMARKS.md gets them. The exit code
is 1 if anything failed.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.reliability.attempts import Attempted, Tell, nobody
from benchmarks.reliability.forked_commands import one_thread
from benchmarks.reliability.kept_rows import ROOT, Found, KeptRows, digest_of_code, unfinished
from benchmarks.reliability.time_left import TimeLeft, Work

Attack = Callable[[Tell], list[Attempted]]

AT_ONCE = 2
"""Parts that run side by side, each in one thread."""

KEPT = ROOT / "build" / "reliability.json"

SAY_EVERY = 15.0
"""Seconds between two lines that say how far it is."""


@dataclasses.dataclass(frozen=True)
class Part:
    """The attacks of one module, which is imported when they run.

    Attributes:
        module: of this package, with a function ``attempts``.
        work: what there is to do.
        options: of the function.
    """

    module: str
    work: Work
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __call__(self, tell: Tell = nobody) -> list[Attempted]:
        """Run all of them."""
        module = importlib.import_module(f"benchmarks.reliability.{self.module}")
        found: list[Attempted] = module.attempts(**self.options, tell=tell)
        return found


_KILLS = 100
_READERS, _DAMAGED = 40, 2000
"""Entries of the table of readers, which is not imported for a look at what there is to do."""


def _trainings(seconds: float, **options: Any) -> Part:
    return Part("killed_training", Work(_KILLS, seconds), {"kills": _KILLS, **options})


def _commands(attack: str, seconds: float) -> Part:
    return Part("killed_commands", Work(_KILLS, seconds), {"attack": attack, "tries": _KILLS})


def _damaged(part: int, seconds: float, of: int = 4) -> Part:
    tries = _DAMAGED * len(range(part, _READERS, of))
    return Part("mutated_files", Work(tries, seconds), {"part": part, "of": of, "tries": _DAMAGED})


PARTS: dict[str, Part] = {
    **{f"damaged files {part + 1}": _damaged(part, 120) for part in range(4)},
    "two trainings together, killed": _trainings(350, processes=(2,), overwrite=False),
    "explain --resume, killed": _commands("explain --resume", 160),
    "explain --format shards, killed": _commands("explain --format shards", 150),
    "train --overwrite, killed": _trainings(150, processes=()),
    "evaluate, killed": _commands("evaluate", 140),
    "explain --overwrite, killed": _commands("explain --overwrite", 130),
    "interrupts": Part("interrupts", Work(5000, 120)),
    "explain, killed": _commands("explain", 100),
    "train, killed": _trainings(90, processes=(1,), overwrite=False),
    "extreme photos": Part("extreme_photos", Work(35, 240)),
    "memory shortage": Part("memory_shortage", Work(20, 90)),
}
"""Long ones begin first, so that none is left over alone."""


class Running:
    """A part in a process of its own, with everything that it starts."""

    def __init__(self, name: str, attack: Attack) -> None:
        self.name = name
        self.began = time.monotonic()
        context = multiprocessing.get_context("spawn")
        self.answers, theirs = context.Pipe(duplex=False)
        self.process: SpawnProcess = context.Process(target=_work, args=(attack, theirs))
        with one_thread():
            self.process.start()
        theirs.close()

    @property
    def seconds(self) -> float:
        """It has run for."""
        return time.monotonic() - self.began

    def answer(self) -> int | list[Attempted]:
        """How many tries are done, or what it found; one that fails itself is one failure."""
        try:
            found: int | list[Attempted] | str = self.answers.recv()
        except EOFError:
            found = "it was killed"
        if isinstance(found, int):
            return found
        self.process.join()
        return [_broken(self.name, found)] if isinstance(found, str) else found

    def stop(self) -> None:
        """End it and all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid or 0, signal.SIGKILL)
        self.process.kill()
        self.process.join()


@dataclasses.dataclass(frozen=True)
class Ended:
    """A part that has ended.

    Attributes:
        name: of the part.
        rows: that it found.
        seconds: it took.
        in_time: whether it was done before the time was up.
    """

    name: str
    rows: list[Attempted]
    seconds: float
    in_time: bool = True


def run_parts(
    parts: Mapping[str, Attack], minutes: float, said: Callable[[str], None] = print
) -> Iterator[Ended]:
    """Run parts side by side.

    Args:
        parts: name to attack, which a new process can import.
        minutes: for all of them; a part that takes longer has failed.
        said: gets a line about the time left, now and then.

    Yields:
        Each part when it ends; those that are stopped come last.
    """
    deadline = time.monotonic() + 60 * minutes
    left = TimeLeft({name: _work_of(attack) for name, attack in parts.items()})
    waiting = list(parts)
    running: list[Running] = []
    last_said = time.monotonic()
    try:
        while waiting or running:
            while waiting and len(running) < AT_ONCE:
                name = waiting.pop(0)
                running.append(Running(name, parts[name]))
            until = min(deadline, last_said + SAY_EVERY) - time.monotonic()
            ready = multiprocessing.connection.wait([r.answers for r in running], max(0.0, until))
            if time.monotonic() > deadline:
                names = [*(part.name for part in running), *waiting]
                why = f"not done after {minutes:g} minutes"
                yield from (Ended(n, [_broken(n, why)], 60 * minutes, in_time=False) for n in names)
                break
            for part in [part for part in running if part.answers in ready]:
                answer = part.answer()
                if isinstance(answer, int):
                    left.note(part.name, answer)
                    continue
                left.finish(part.name)
                running.remove(part)
                yield Ended(part.name, answer, part.seconds)
            if time.monotonic() - last_said >= SAY_EVERY:
                last_said = time.monotonic()
                said(left.in_words([part.name for part in running]))
    finally:
        for part in running:
            part.stop()


def section_of(found: Mapping[str, Found]) -> str:
    """What BENCHMARKS.md says of the parts, as Markdown."""
    from benchmarks.benchmark_page import table

    rows = [row for part in found.values() for row in part.rows]
    seconds = sum(part.seconds for part in found.values())
    states = len({part.code for part in found.values()})
    text = (
        f"The parts took {seconds / 60:.0f} minutes together, and {AT_ONCE} of them ran at a time"
        + (f"; they ran on {states} states of the code" if states > 1 else "")
        + ". A try of the first rows is one damaged file; of the others one kill or interrupt, "
        "one photo, or one command that has too little memory."
    )
    body = table(
        ["attack", "tries", "failures"],
        [[row.name, str(row.tries), str(row.failures)] for row in rows],
    )
    examples = [f"- {row.name}: {row.example}" for row in rows if row.failures and row.example]
    more = ["", "First failures:", "", *examples] if examples else []
    return "\n".join([text, "", body, *more])


def main(
    arguments: Sequence[str] | None = None,
    parts: Mapping[str, Attack] = PARTS,
    kept_in: Path = KEPT,
) -> int:
    """Run the parts that are asked for; return the exit code."""
    parser = argparse.ArgumentParser("python -m benchmarks.reliability", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="for everything")
    parser.add_argument("--only", choices=list(parts), action="append", help="this part, again")
    asked = parser.parse_args(arguments)
    kept, code = KeptRows(kept_in), digest_of_code()
    chosen = asked.only or unfinished(parts, kept.read(), code)
    late: list[Attempted] = []
    for ended in run_parts({name: parts[name] for name in chosen}, asked.minutes, _say):
        tries = sum(row.tries for row in ended.rows)
        failures = sum(row.failures for row in ended.rows)
        _say(f"{ended.name}: {failures} failures in {tries} tries, {ended.seconds:.0f} s")
        if ended.in_time:
            kept.keep(ended.name, Found(tuple(ended.rows), ended.seconds, code))
        else:
            late += ended.rows
    read = kept.read()
    found = {name: read[name] for name in parts if name in read}
    _print([*(row for part in found.values() for row in part.rows), *late])
    if len(found) == len(parts) and not late:
        # Not at the top: it imports torch, and every part's process begins by importing this file.
        from benchmarks.benchmark_page import write_section

        command = "python -m benchmarks.reliability"
        write_section("reliability", "Reliability", command, section_of(found))
    return 1 if late or any(part.failures for part in found.values()) else 0


def _work(attack: Attack, answers: multiprocessing.connection.Connection) -> None:
    os.setsid()  # So that the part can be ended with all that it started.
    try:
        answers.send(attack(answers.send))
    except Exception as problem:
        answers.send(f"{type(problem).__name__}: {problem}")


def _work_of(attack: Attack) -> Work:
    return attack.work if isinstance(attack, Part) else Work(1, 1.0)


def _broken(name: str, why: str) -> Attempted:
    return Attempted(name, 1, 1, why)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _print(rows: Sequence[Attempted]) -> None:
    shown = Table("attack", "tries", "failures", "first failure")
    for row in rows:
        style = "red" if row.failures else "green"
        shown.add_row(row.name, str(row.tries), str(row.failures), row.example, style=style)
    Console(markup=False).print(shown)
