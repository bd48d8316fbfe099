"""Saying which setting to change when memory runs out."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from ttame.errors import MemoryLimitError

FEWER_IMAGES = "fewer images or classes per call, or smaller images"
"""What helps someone who calls a method."""

SMALLER_NETWORK = "a smaller network, or smaller images"
"""What helps someone who loads one."""

SMALLER_BATCH = "a smaller batch_size"
"""What helps someone who works through a set of photos."""

_OTHER_WORDS = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "unable to allocate",
    "memory allocation",
    "bad_alloc",
    "could not create a memory object",
    "failed to map segment",
    "can't start new thread",
    "killed by signal: killed",
    "out of shared memory",
)
"""How libraries say it without an exception class of its own. A thread needs memory to start, and
the processes that read photos for a training are killed when the machine has none left."""


@contextlib.contextmanager
def naming_the_setting(remedy: str) -> Iterator[None]:
    """Turn any out-of-memory error of the block into one line that names the remedy.

    Args:
        remedy: what to make smaller, with the name of the setting.

    Raises:
        MemoryLimitError: memory ran out.

    Example:
        >>> with naming_the_setting("batch_size=8"):
        ...     raise MemoryError
        Traceback (most recent call last):
        ttame.errors.MemoryLimitError: not enough memory; try: batch_size=8
    """
    try:
        yield
    except MemoryLimitError:  # What is nearer to the trouble knows better what helps.
        raise
    except Exception as problem:
        if not ran_out_of_memory(problem):
            raise
        raise MemoryLimitError("not enough memory", remedy=remedy) from problem


def ran_out_of_memory(problem: BaseException | None) -> bool:
    """Say whether an error, or what it was raised from, is that memory ran out.

    Nearly every library has its own way to say so: Python and numpy a ``MemoryError``, torch an
    error of its own on GPUs and words in a ``RuntimeError`` on CPUs, the system ``ENOMEM``.

    Example:
        >>> ran_out_of_memory(OSError(12, "Cannot allocate memory")), ran_out_of_memory(OSError(2))
        (True, False)
    """
    seen: set[int] = set()
    while problem is not None and id(problem) not in seen:
        seen.add(id(problem))
        if _is_about_memory(problem):
            return True
        problem = problem.__cause__
    return False


def _is_about_memory(problem: BaseException) -> bool:
    if isinstance(problem, MemoryError):
        return True
    if isinstance(problem, OSError) and problem.errno == errno.ENOMEM:
        return True
    # By name, because torch takes seconds to import where it is not in use.
    if any(kind.__name__ == "OutOfMemoryError" for kind in type(problem).__mro__):
        return True
    words = str(problem).lower()
    # oneDNN has no memory for the code it makes. Of what it cannot do it says "… descriptor".
    if isinstance(problem, RuntimeError) and words.endswith("could not create a primitive"):
        return True
    return isinstance(problem, (RuntimeError, OSError, ImportError, ValueError)) and any(
        word in words for word in _OTHER_WORDS
    )
