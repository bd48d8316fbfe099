"""Writing while other work goes on."""

from __future__ import annotations

import threading

import pytest

from ttame.files.writing_behind import WritingBehind


def test_only_two_wait_and_all_are_done_in_order() -> None:
    go, done = threading.Event(), []
    given: list[int] = []

    def act(number: int) -> None:
        assert go.wait(60)
        done.append(number)

    def give() -> None:
        with WritingBehind() as writing:
            for number in range(5):
                writing.put(lambda number=number: act(number))  # type: ignore[misc]
                given.append(number)

    giving = threading.Thread(target=give)
    giving.start()
    while len(given) < 2:
        assert giving.is_alive()
    # The third is given when the first is done.
    giving.join(0.2)
    assert (given, done) == ([0, 1], [])
    go.set()
    giving.join(60)
    assert given == done == [0, 1, 2, 3, 4]


def test_an_error_is_raised_and_what_was_given_is_done() -> None:
    def fail() -> None:
        raise OSError("full")

    done: list[int] = []
    with pytest.raises(OSError, match="full"), WritingBehind() as writing:
        writing.put(fail)
        writing.put(lambda: done.append(1))
    assert done == [1]
    with pytest.raises(KeyError), WritingBehind() as writing:
        writing.put(lambda: done.append(2))
        raise KeyError
    assert done == [1, 2]
