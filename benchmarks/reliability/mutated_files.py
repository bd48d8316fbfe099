"""Thousands of damaged files for every reader, in processes of limited memory and time."""

from __future__ import annotations

import multiprocessing
import signal
import tempfile
import warnings
from collections.abc import Iterable
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from types import FrameType

from benchmarks.reliability.attempts import Attempted, Tell, nobody
from benchmarks.reliability.file_parsers import PARSERS, harm_of

MEMORY = 4 * 2**30
"""Bytes that reading may take besides what the process has already."""
SECONDS = 5.0
"""Of the processor, for one file."""

_FORKS = multiprocessing.get_context("fork")


class _TooSlow(BaseException):
    """Not an Exception, which a reader might take for damage of its file."""


def mutated_files(
    tries: int = 2000, names: Iterable[str] = PARSERS, tell: Tell = nobody
) -> list[Attempted]:
    """Let readers read damaged files.

    Args:
        tries: files for each.
        names: of the readers.
        tell: told how many files are done.

    Returns:
        A row for each reader. A failure is anything but reading the file, or refusing it in one
        short line: a traceback, more than five seconds, more than 4 GiB, or a dead process.
    """
    names = list(names)
    return [
        _attempted(name, tries, lambda done, before=number * tries: tell(before + done))  # type: ignore[misc]
        for number, name in enumerate(names)
    ]


def attempts(part: int, of: int, tries: int = 2000, tell: Tell = nobody) -> list[Attempted]:
    """Damage the files of every ``of``-th reader, from number ``part`` on."""
    return mutated_files(tries, list(PARSERS)[part::of], tell)


def _attempted(name: str, tries: int, tell: Tell) -> Attempted:
    PARSERS[name].examples()  # Here already: in the processes, a mistake in it would be one each.
    failures, example, done = 0, "", 0
    while done < tries:
        receiver, sender = _FORKS.Pipe(duplex=False)
        process = _FORKS.Process(target=_read_many, args=(name, done, tries, sender))
        process.start()
        sender.close()
        started = done
        while done < tries:
            # A reader that neither ends nor lets Python interrupt it is stopped from outside.
            answered = receiver.poll(10 * SECONDS + (30 if done == started else 0))
            try:
                harm = receiver.recv() if answered else "it did not end"
            except EOFError:
                process.join()
                answered, harm = False, f"the process died ({process.exitcode})"
            failures += bool(harm)
            example = example or (harm and f"file {done}: {harm[:200]}")
            done += 1
            if done % 50 == 0:
                tell(done)
            if not answered:
                break
        process.kill()
        process.join()
        receiver.close()
    return Attempted(f"damaged files: {name}", tries, failures, example)


def _read_many(name: str, first: int, tries: int, answers: Connection) -> None:
    _limit_memory()
    signal.signal(signal.SIGPROF, _stop)
    warnings.simplefilter("error")
    parser = PARSERS[name]
    examples = parser.examples()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, tries):
            content = damaged(name, number, examples)
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            try:
                harm = harm_of(parser, content, Path(folder))
            except _TooSlow:
                harm = f"more than {SECONDS:g} seconds of the processor"
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
            answers.send(harm)


def damaged(name: str, number: int, examples: tuple[bytes, ...] = ()) -> bytes:
    """The content of one of the files of a reader, the same in every run."""
    chance = Random(f"{name} {number}")
    return PARSERS[name].mutate(chance.choice(examples or PARSERS[name].examples()), chance)


def _limit_memory() -> None:
    import resource

    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))


def _stop(number: int, frame: FrameType | None) -> None:
    raise _TooSlow
