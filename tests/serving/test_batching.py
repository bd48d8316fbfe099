"""Batches, the queue's bound, and work that nobody waits for, without a network."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Sequence
from typing import Any

import pytest

from ttame.errors import ImageError
from ttame.serving.batching import AbandonedError, Batcher, Progress, QueueFullError

SECONDS = 10.0


class Work:
    """Notes its batches, and does each when it is let go."""

    def __init__(self) -> None:
        self.batches: list[tuple[Hashable, list[Any]]] = []
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)

    def __call__(self, key: Hashable, items: Sequence[Any], progress: Progress) -> list[Any]:
        self.batches.append((key, list(items)))
        self.begun.release()
        assert self.go_on.acquire(timeout=SECONDS)
        if "bad" in items:
            raise ImageError("a bad item")
        return [(key, item) for item in items]

    def wait(self) -> None:
        assert self.begun.acquire(timeout=SECONDS)


def test_what_arrives_during_a_batch_is_the_next_one_by_keys_and_in_order() -> None:
    work = Work()
    batcher = Batcher(work, batch_size=3)
    first = batcher.submit("a", 0)
    work.wait()
    tickets = [batcher.submit(key, n) for n, key in enumerate("abaaba", start=1)]
    for _ in range(9):
        work.go_on.release()
    assert first.future.result(SECONDS) == ("a", 0)
    assert [each.future.result(SECONDS) for each in tickets] == [
        (key, n) for n, key in enumerate("abaaba", start=1)
    ]
    assert work.batches == [("a", [0]), ("a", [1, 3, 4]), ("b", [2, 5]), ("a", [6])]
    batcher.close()


def test_one_item_waits_for_those_that_are_coming_and_no_longer_than_it_should() -> None:
    coming = [1]
    work = Work()
    work.go_on.release(5)
    batcher = Batcher(work, batch_size=2, wait=SECONDS, coming=lambda: coming[0])
    first = batcher.submit("a", 1)
    coming[0] = 0
    second = batcher.submit("a", 2)
    assert second.future.result(SECONDS) == ("a", 2)
    assert work.batches == [("a", [1, 2])]
    assert first.future.done()
    # With others on their way that never come, it goes on alone.
    coming[0] = 1
    quick = Batcher(work, batch_size=2, wait=0.01, coming=lambda: coming[0])
    assert quick.submit("a", 3).future.result(SECONDS) == ("a", 3)
    batcher.close()
    quick.close()


def test_the_queue_has_an_end() -> None:
    work = Work()
    batcher = Batcher(work, capacity=2)
    batcher.submit("a", 0)
    work.wait()
    batcher.submit("a", 1)
    batcher.submit("a", 2)
    assert len(batcher) == 2
    with pytest.raises(QueueFullError):
        batcher.submit("a", 3)
    work.go_on.release(5)
    batcher.close()
    with pytest.raises(QueueFullError):
        batcher.submit("a", 4)


def test_a_bad_item_does_not_spoil_the_others() -> None:
    work = Work()
    batcher = Batcher(work)
    batcher.submit("a", 0)
    work.wait()
    good, bad = batcher.submit("a", 1), batcher.submit("a", "bad")
    work.go_on.release(9)
    assert good.future.result(SECONDS) == ("a", 1)
    with pytest.raises(ImageError, match="a bad item"):
        bad.future.result(SECONDS)
    batcher.close()


def test_what_nobody_waits_for_is_not_begun() -> None:
    work = Work()
    batcher = Batcher(work)
    batcher.submit("a", 0)
    work.wait()
    gone = batcher.submit("b", 1)
    kept = batcher.submit("a", 2)
    gone.abandon()
    work.go_on.release(9)
    assert kept.future.result(SECONDS) == ("a", 2)
    assert ("b", [1]) not in work.batches
    batcher.close()


def test_work_that_has_begun_ends_at_its_next_step_when_everybody_is_gone() -> None:
    begun, steps = threading.Event(), []

    def slow(key: Hashable, items: Sequence[Any], progress: Progress) -> list[Any]:
        for step in range(10_000):
            progress(step, 10_000)
            begun.set()
            time.sleep(0.001)
        return list(items)

    batcher = Batcher(slow)
    ticket = batcher.submit("a", 1, lambda finished, total: steps.append((finished, total)))
    assert begun.wait(SECONDS)
    ticket.abandon()
    with pytest.raises(AbandonedError):
        ticket.future.result(SECONDS)
    assert steps[0] == (0, 10_000) and len(steps) < 10_000
    batcher.close()


def test_closing_finishes_what_waits_and_refuses_what_takes_too_long() -> None:
    work = Work()
    batcher = Batcher(work, batch_size=1)
    running = batcher.submit("a", 0)
    work.wait()
    waiting = batcher.submit("a", 1)
    closing = threading.Thread(target=batcher.close, args=(SECONDS,))
    closing.start()
    work.go_on.release(2)
    closing.join(SECONDS)
    assert running.future.result(0) == ("a", 0)
    assert waiting.future.result(0) == ("a", 1)

    stuck = Batcher(work, batch_size=1)
    stuck.submit("a", 2)
    work.wait()
    left = stuck.submit("a", 3)
    stuck.close(0.05)
    with pytest.raises(QueueFullError):
        left.future.result(0)
    work.go_on.release()
