"""Writing while other work goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

_MOST_WAITING = 2
"""Pieces of work that wait: memory must not grow where the disk is slower than the network."""


class WritingBehind:
    """Does what it is given in a thread of its own, one after the other.

    What is still to be done when the block ends is done first, also if the block fails. Errors are
    raised by the next call, or at the end of the block.

    Example:
        >>> done = []
        >>> with WritingBehind() as writing:
        ...     for number in range(3):
        ...         writing.put(lambda number=number: done.append(number))
        >>> done
        [0, 1, 2]
    """

    def __init__(self) -> None:
        self._waiting: deque[Future[object]] = deque()

    def __enter__(self) -> WritingBehind:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ttame-writing")
        return self

    def put(self, action: Callable[[], object]) -> None:
        """Do something soon; wait for what came before if too much waits.

        Raises:
            Exception: of an action before.
        """
        while len(self._waiting) >= _MOST_WAITING:
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(action))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown(wait=True)
        if problem is None:
            for done in self._waiting:
                done.result()
