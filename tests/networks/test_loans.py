from __future__ import annotations

import gc
import threading
from contextvars import ContextVar

import pytest

from ttame.networks import loans
from ttame.networks.loans import Joining, Lent, Loan, this_thread


class Switch(Loan[str]):
    """Fails in the step that it is told to, the first time."""

    def __init__(self, fail: str = "") -> None:
        super().__init__()
        self.on, self.fail, self.undone = False, fail, 0

    def _may_fail(self, step: str) -> None:
        if self.fail == step:
            self.fail = ""
            raise KeyboardInterrupt

    def begin(self) -> str:
        self.on = True
        self._may_fail("begin")
        return "lent"

    def undo(self) -> None:
        self.undone += 1
        self._may_fail("undo")
        self.on = False


def test_a_loan_is_noted_while_it_lasts() -> None:
    switch = Switch()
    with Lent(switch) as given:
        assert (given, switch.on) == ("lent", True)
        assert this_thread.loans == [switch] and switch in loans._open
        assert switch.in_its_thread()
    assert not switch.on
    assert this_thread.loans == [] and switch not in loans._open
    switch.end()
    assert switch.undone == 1  # nothing is undone twice


@pytest.mark.parametrize("step", ["begin", "undo"])
def test_an_interrupted_loan_is_undone_all_the_same(step: str) -> None:
    switch = Switch(step)
    with pytest.raises(KeyboardInterrupt), Lent(switch):
        pass
    assert not switch.on
    assert this_thread.loans == []


def test_a_loan_whose_end_was_missed_ends_with_its_holder() -> None:
    switch = Switch()
    holder = Lent(switch)
    holder.__enter__()
    del holder
    gc.collect()
    assert not switch.on
    assert this_thread.loans == []


def test_another_thread_has_loans_of_its_own() -> None:
    seen: list[object] = []
    with Lent(Switch()) as _:
        thread = threading.Thread(target=lambda: seen.append(list(this_thread.loans)))
        thread.start()
        thread.join(timeout=10)
    assert seen == [[]]


def test_joining_removes_what_came_after_it_too() -> None:
    variable: ContextVar[tuple[str, ...]] = ContextVar("joined", default=())
    first = Joining(variable, "first")
    with Lent(first):
        Joining(variable, "second").begin()
        assert variable.get() == ("first", "second")
    assert variable.get() == ()
    first.undo()
    assert variable.get() == ()
