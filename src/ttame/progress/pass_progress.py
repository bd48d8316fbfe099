"""How far a single method is that needs many passes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from ttame.processes import is_first_process
from ttame.progress.durations import duration_in_words
from ttame.progress.progress_line import ProgressLine, nothing_shown

Progress = Callable[[int, int], None]
"""Told the finished and total steps."""

SECONDS_BEFORE_SHOWN = 1.0
"""What takes less time has no line."""


@contextlib.contextmanager
def telling_of_passes(method: str, progress: Progress | bool | None) -> Iterator[Progress | None]:
    """Give a method something to tell of its passes.

    Args:
        method: its name, for people.
        progress: the caller's own, or whether to show a line once the work has taken a second.

    Example:
        >>> with telling_of_passes("RISE", True) as told:
        ...     told(1, 4)
    """
    if callable(progress):
        with nothing_shown():
            yield progress
    elif not progress:
        with nothing_shown():
            yield None
    else:
        with contextlib.ExitStack() as stack:
            yield _PassLine(method, stack).told


class _PassLine:
    def __init__(self, method: str, stack: contextlib.ExitStack) -> None:
        self._method = method
        self._stack = stack
        self._began = time.monotonic()
        self._line: ProgressLine | None = None

    def told(self, finished: int, total: int) -> None:
        elapsed = time.monotonic() - self._began
        if self._line is None:
            if elapsed < SECONDS_BEFORE_SHOWN:
                return
            self._line = self._stack.enter_context(ProgressLine(shown=is_first_process()))
        left = elapsed / max(finished, 1) * (total - finished)
        self._line.update(
            what=self._method,
            done=finished,
            total=total,
            remark=f"{finished}/{total} steps, about {duration_in_words(left)} left",
        )
