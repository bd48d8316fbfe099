"""``ttame`` commands in processes of their own that begin with everything imported."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import multiprocessing
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import accelerate  # noqa: F401 - imported once, for all commands
import rich.progress  # noqa: F401
import timm  # noqa: F401

import ttame.evaluation.evaluate_methods
import ttame.reporting.explanation_report
import ttame.training.train_explainer  # noqa: F401
from ttame.cli.main import main as command_line

IMPORTS = time.process_time()
"""Seconds of the processor until everything is imported, which every command takes."""


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        returned: exit code; below 0 for a signal.
        said: lines on the error stream.
        seconds: from the end of the imports on.
        processor_seconds: that the processor worked for it, imports included.
        megabytes: the most memory it had.
    """

    returned: int
    said: tuple[str, ...]
    seconds: float = 0.0
    processor_seconds: float = 0.0
    megabytes: float = 0.0


LONGEST = 300.0
"""Seconds after which a process hangs, and is killed."""


def alone(work: Callable[[], None]) -> int:
    """Do something in a process of its own; return its exit code, -9 if it hangs."""
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(LONGEST)
    process.kill()
    process.join()
    return int(process.exitcode or 0)


def run_command(arguments: Sequence[str], prepare: Callable[[], None] = lambda: None) -> Ended:
    """Run ``ttame`` with arguments, into an ``--out`` that is thrown away.

    Args:
        arguments: without ``--out``.
        prepare: called in the new process before the command.
    """
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "said"
        command = ["ttame", *arguments, "--out", f"{folder}/out"]
        killed = alone(lambda: _run(command, said, prepare))
        if killed or not said.is_file():
            return Ended(killed or -1, ())
        figures, returned, *lines = said.read_text().splitlines()
    seconds, processor, kibibytes = map(float, figures.split())
    megabytes = kibibytes * 1024 / 1e6
    shown = tuple(line for line in lines if line.strip())
    return Ended(int(returned), shown, seconds, processor + IMPORTS, megabytes)


def _run(command: list[str], said: Path, prepare: Callable[[], None]) -> None:
    sys.argv = command
    began, returned = time.monotonic(), 0
    streams = io.StringIO()
    with (
        said.open("w") as file,
        contextlib.redirect_stderr(streams),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        try:
            prepare()
            command_line()
        except SystemExit as stop:
            returned = int(stop.code or 0)
        except BaseException:
            returned = 1
            traceback.print_exc(limit=-4)
        # Not ru_maxrss, which begins with the peak of the process that started this one.
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
        figures = f"{time.monotonic() - began} {time.process_time()} {peak}"
        file.write(f"{figures}\n{returned}\n{streams.getvalue()}")
