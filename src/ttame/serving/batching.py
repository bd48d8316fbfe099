"""Work that arrives one by one and is done in batches, by a thread that owns the network."""

from __future__ import annotations

import collections
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from typing import Any

from ttame.errors import TtameError

Progress = Callable[[int, int], None]
Run = Callable[[Hashable, Sequence[Any], Progress], Sequence[Any]]
"""Does the items of one key; told how to say how far it is. One result for each item."""

_log = logging.getLogger("ttame.serving")


class QueueFullError(Exception):
    """More waits than may wait, or nothing is taken any more."""


class AbandonedError(Exception):
    """Nobody waits for this work any more."""


@dataclasses.dataclass(frozen=True, eq=False)
class Ticket:
    """One item that waits for its result.

    Attributes:
        key: items of equal keys may be done together.
        item: what is to be done.
        future: the future of the result.
        progress: told the finished and total steps.
    """

    key: Hashable
    item: Any
    progress: Progress | None = None
    future: Future[Any] = dataclasses.field(default_factory=Future)
    _gone: threading.Event = dataclasses.field(default_factory=threading.Event)

    def abandon(self) -> None:
        """Say that nobody waits for the result: it is not begun, or ended at its next step."""
        self._gone.set()
        self.future.cancel()

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits any more."""
        return self._gone.is_set()


class Batcher:
    """Collects items and does those of one key together, the oldest first.

    An item waits for others only while some are known to be coming, and never longer than
    ``wait``; so a single request is begun at once, and while a batch runs the next one fills.

    Args:
        run: does a batch.
        batch_size: the most items of one.
        wait: seconds.
        capacity: items that may wait.
        coming: how many items are on their way.
        name: the name of the thread.

    Example:
        >>> batcher = Batcher(lambda key, items, progress: [2 * item for item in items])
        >>> batcher.submit("double", 21).future.result(timeout=5)
        42
        >>> batcher.close()
    """

    def __init__(
        self,
        run: Run,
        *,
        batch_size: int = 8,
        wait: float = 0.01,
        capacity: int = 64,
        coming: Callable[[], int] = lambda: 0,
        name: str = "batches",
    ) -> None:
        self._run = run
        self._batch_size = batch_size
        self._wait = wait
        self._capacity = capacity
        self._coming = coming
        self._waiting: collections.deque[Ticket] = collections.deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, key: Hashable, item: Any, progress: Progress | None = None) -> Ticket:
        """Add an item.

        Raises:
            QueueFullError: too many wait, or the batcher is closed.
        """
        ticket = Ticket(key, item, progress)
        with self._changed:
            if self._closing or len(self._waiting) >= self._capacity:
                raise QueueFullError
            self._waiting.append(ticket)
            self._changed.notify()
        return ticket

    def nudge(self) -> None:
        """Look again whether anything is still coming."""
        with self._changed:
            self._changed.notify()

    def __len__(self) -> int:
        """How many items wait."""
        return len(self._waiting)

    def close(self, seconds: float = 5.0) -> None:
        """Take nothing more, finish what waits, and end the thread; drop what takes longer.

        Args:
            seconds: to finish it.
        """
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)
        with self._changed:
            left = [each for each in self._waiting if each.future.set_running_or_notify_cancel()]
            self._waiting.clear()
        _fail(left, QueueFullError())

    def _work(self) -> None:
        while True:
            batch = self._next_batch()
            if batch is None:
                return
            if batch:
                self._do(batch)
            del batch  # Nothing of a photo is kept while there is nothing to do.

    def _next_batch(self) -> list[Ticket] | None:
        """Wait for work; ``None`` when there will be none."""
        with self._changed:
            while not self._waiting:
                if self._closing:
                    return None
                self._changed.wait()
            key = self._waiting[0].key
            end = time.monotonic() + self._wait
            while self._count(key) < self._batch_size and self._coming() and not self._closing:
                left = end - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    break
            return self._taken(key)

    def _count(self, key: Hashable) -> int:
        return sum(ticket.key == key for ticket in self._waiting)

    def _taken(self, key: Hashable) -> list[Ticket]:
        """The oldest items of a key, without those that nobody waits for."""
        taken: list[Ticket] = []
        others: collections.deque[Ticket] = collections.deque()
        for ticket in self._waiting:
            if ticket.key == key and len(taken) < self._batch_size:
                taken.append(ticket)
            else:
                others.append(ticket)
        self._waiting = others
        return [ticket for ticket in taken if ticket.future.set_running_or_notify_cancel()]

    def _do(self, batch: Sequence[Ticket]) -> None:
        def told(finished: int, total: int) -> None:
            if all(ticket.abandoned for ticket in batch):
                raise AbandonedError
            for ticket in batch:
                if ticket.progress is not None:
                    ticket.progress(finished, total)

        try:
            results = self._run(batch[0].key, [ticket.item for ticket in batch], told)
            for ticket, result in zip(batch, results, strict=True):
                ticket.future.set_result(result)
        except AbandonedError as problem:
            _fail(batch, problem)
        except Exception as problem:
            if len(batch) > 1:  # One of them must not spoil it for the others.
                for ticket in batch:
                    if not ticket.future.done():
                        self._do([ticket])
                return
            if not isinstance(problem, TtameError):
                _log.exception("a batch failed")
            _fail(batch, problem)


def _fail(batch: Sequence[Ticket], problem: Exception) -> None:
    for ticket in batch:
        if not ticket.future.done():
            ticket.future.set_exception(problem)
