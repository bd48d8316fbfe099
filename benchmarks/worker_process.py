"""Runs that live in processes of their own, so that peaks of memory and patches do not mix."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import multiprocessing.connection
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple


class Run(NamedTuple):
    """One timed run: seconds; how far the resident memory rose above its start, in MB; and seconds
    of the processor, which other work on the machine hardly changes."""

    seconds: float
    peak_megabytes: float
    processor_seconds: float


Prepare = Callable[[], Callable[[], object]]
"""Loads everything and returns what is to be timed. A function at the top of a module."""


def take_turns(prepared: Mapping[str, Prepare], repeats: int) -> dict[str, list[Run]]:
    """Run several variants in turns, each in its own process, only one working at a time.

    A first run of each warms up and is not counted.
    """
    with contextlib.ExitStack() as stack:
        workers = {name: stack.enter_context(_worker(run)) for name, run in prepared.items()}
        for connection in workers.values():
            _ask(connection)
        runs: dict[str, list[Run]] = {name: [] for name in prepared}
        for _ in range(repeats):
            for name, connection in workers.items():
                runs[name].append(_ask(connection))
    return runs


def _ask(connection: multiprocessing.connection.Connection) -> Run:
    connection.send("run")
    answer = connection.recv()
    if isinstance(answer, str):
        raise RuntimeError(answer)
    return Run(*answer)


@contextlib.contextmanager
def _worker(prepare: Prepare) -> Iterator[multiprocessing.connection.Connection]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(prepare, theirs), daemon=True)
    process.start()
    try:
        yield ours
    finally:
        with contextlib.suppress(OSError):
            ours.send("stop")
        process.join(timeout=10)
        process.kill()


def _work(prepare: Prepare, connection: multiprocessing.connection.Connection) -> None:
    try:
        run = prepare()
        while connection.recv() == "run":
            # What earlier runs left free would be used again without raising the peak.
            with contextlib.suppress(AttributeError, OSError):
                ctypes.CDLL(None).malloc_trim(0)
            before = _resident("VmRSS")
            # Sets the peak that the kernel remembers back to what is resident now.
            Path("/proc/self/clear_refs").write_text("5")
            start, processor = time.perf_counter(), time.process_time()
            run()
            seconds, processed = time.perf_counter() - start, time.process_time() - processor
            connection.send((seconds, _resident("VmHWM") - before, processed))
    except EOFError:
        return
    except Exception as problem:  # whatever another library raises, the parent must hear of it
        connection.send(f"{type(problem).__name__}: {problem}")


def _resident(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1e3
    raise RuntimeError(f"no {field} in /proc/self/status")
