"""Attack ttame in every way that is known here, count what broke, and note it in BENCHMARKS.md.

python -m benchmarks.reliability [--minutes 30] [--only NAME]

The exit code is 1 if anything failed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.context import SpawnProcess

from rich.console import Console
from rich.table import Table

from benchmarks.reliability.attempts import Attempted
from benchmarks.reliability.forked_commands import one_thread

Attack = Callable[[], list[Attempted]]

AT_ONCE = 2
"""Parts that run side by side, each in one thread."""


class Part:
    """The attacks of one module, which is imported when they run.

    Args:
        module: of this package.
        function: that makes them.
        options: of the function.
    """

    def __init__(self, module: str, function: str = "attempts", **options: object) -> None:
        self.module = module
        self.function = function
        self.options = options

    def __call__(self) -> list[Attempted]:
        """Run all of them."""
        module = importlib.import_module(f"benchmarks.reliability.{self.module}")
        found: list[Attempted] = getattr(module, self.function)(**self.options)
        return found


PARTS: dict[str, Attack] = {
    "mutated files": Part("mutated_files", "mutated_files"),
    "killed training": Part("killed_training", kills=100),
    "killed commands": Part("killed_commands"),
    "interrupts": Part("interrupts"),
    "extreme photos": Part("extreme_photos"),
    "memory shortage": Part("memory_shortage"),
}
"""In the order of the page; the long ones begin first."""


class Running:
    """A part in a process of its own, with everything that it starts."""

    def __init__(self, name: str, attack: Attack) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self.answers, theirs = context.Pipe(duplex=False)
        self.process: SpawnProcess = context.Process(target=_work, args=(attack, theirs))
        with one_thread():
            self.process.start()
        theirs.close()

    def answer(self) -> list[Attempted]:
        """What it found; a part that fails itself is one failure."""
        try:
            found: list[Attempted] | str = self.answers.recv()
        except EOFError:
            found = "it was killed"
        self.process.join()
        if isinstance(found, str):
            return [_broken(self.name, found)]
        return found

    def stop(self) -> None:
        """End it and all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid or 0, signal.SIGKILL)
        self.process.kill()
        self.process.join()


def run_parts(parts: Mapping[str, Attack], minutes: float) -> list[Attempted]:
    """Run parts side by side.

    Args:
        parts: name to attack, which a new process can import.
        minutes: for all of them; a part that takes longer has failed.

    Returns:
        The rows of all parts, in the order of ``parts``.
    """
    deadline = time.monotonic() + 60 * minutes
    waiting = list(parts)
    running: list[Running] = []
    found: dict[str, list[Attempted]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < AT_ONCE:
                name = waiting.pop(0)
                running.append(Running(name, parts[name]))
            left = deadline - time.monotonic()
            ready = multiprocessing.connection.wait([r.answers for r in running], max(0.0, left))
            if not ready:
                names = [*(part.name for part in running), *waiting]
                found |= {n: [_broken(n, f"not done after {minutes:g} minutes")] for n in names}
                break
            for part in [part for part in running if part.answers in ready]:
                found[part.name] = part.answer()
                running.remove(part)
                _say(part.name, found[part.name])
    finally:
        for part in running:
            part.stop()
    return [row for name in parts for row in found[name]]


def section_of(rows: Sequence[Attempted]) -> str:
    """What BENCHMARKS.md says of them, as Markdown."""
    from benchmarks.benchmark_page import table

    body = table(
        ["attack", "tries", "failures"],
        [[row.name, str(row.tries), str(row.failures)] for row in rows],
    )
    examples = [f"- {row.name}: {row.example}" for row in rows if row.failures and row.example]
    return "\n".join([body, *(["", "First failures:", "", *examples] if examples else [])])


def main(arguments: Sequence[str] | None = None, parts: Mapping[str, Attack] = PARTS) -> int:
    """Run the parts that are asked for; return the exit code."""
    parser = argparse.ArgumentParser("python -m benchmarks.reliability", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="for everything")
    parser.add_argument("--only", choices=list(parts), help="one part; writes no section")
    asked = parser.parse_args(arguments)
    chosen = {asked.only: parts[asked.only]} if asked.only else parts
    rows = run_parts(chosen, asked.minutes)
    _print(rows)
    if not asked.only:
        # Not at the top: it imports torch, and every part's process begins by importing this file.
        from benchmarks.benchmark_page import write_section

        command = "python -m benchmarks.reliability"
        write_section("reliability", "Reliability", command, section_of(rows))
    return 1 if any(row.failures for row in rows) else 0


def _work(attack: Attack, answers: multiprocessing.connection.Connection) -> None:
    os.setsid()  # So that the part can be ended with all that it started.
    try:
        answers.send(attack())
    except Exception as problem:
        answers.send(f"{type(problem).__name__}: {problem}")


def _broken(name: str, why: str) -> Attempted:
    return Attempted(name, 1, 1, why)


def _say(name: str, rows: Sequence[Attempted]) -> None:
    tries, failures = sum(row.tries for row in rows), sum(row.failures for row in rows)
    print(f"{name}: {failures} failures in {tries} tries", file=sys.stderr)


def _print(rows: Sequence[Attempted]) -> None:
    shown = Table("attack", "tries", "failures", "first failure")
    for row in rows:
        style = "red" if row.failures else "green"
        shown.add_row(row.name, str(row.tries), str(row.failures), row.example, style=style)
    Console(markup=False).print(shown)


if __name__ == "__main__":
    sys.exit(main())
