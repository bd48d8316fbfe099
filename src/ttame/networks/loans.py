"""Temporary changes that are noted before they are made, and undone whatever interrupts them.

See :mod:`ttame.networks.giving_back`, which says why a change is more than a context manager.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any, Generic, TypeVar

T = TypeVar("T")

lock = threading.RLock()
"""Held for moments by everyone who changes what threads share: modes and flags, hooks, switches of
a process. One lock, so that no two wait for each other; a thread may take it again, because a loan
whose end was missed may end in the middle of anything, when its context manager is collected."""


class _OfThread(threading.local):
    def __init__(self) -> None:
        self.loans: list[Loan[Any]] = []
        self.depth = 0  # of functions that give everything back


this_thread = _OfThread()
_open: set[Loan[Any]] = set()
"""The loans of all threads that have not ended."""


class Loan(ABC, Generic[T]):
    """A change that is made when a block begins and undone when it ends.

    Attributes:
        thread: the ``threading.get_ident()`` of the thread that made it.
        loans: all loans of that thread.
        backstop: ends the loan when its context manager is collected.
    """

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.loans: list[Loan[Any]] = []
        self.backstop: weakref.ref[Lent[T]] | None = None

    @abstractmethod
    def begin(self) -> T:
        """Make the change; may be left after any step, and is then undone."""

    @abstractmethod
    def undo(self) -> None:
        """Undo what was changed so far; may be left after any step, and is then called again."""

    def lend_to(self, holder: Lent[T]) -> T:
        """Note the loan, then make the change; may be left after any step."""
        self.thread, self.loans = threading.get_ident(), this_thread.loans
        self.backstop = weakref.ref(holder, lambda _: insist(self.end))
        _open.add(self)
        self.loans.append(self)
        return self.begin()

    def in_its_thread(self) -> bool:
        """Whether the running thread is the one whose state the loan changed."""
        return self.thread == threading.get_ident()

    def end(self) -> None:
        """Undo the change, unless that was done already."""
        if self not in _open:
            return
        self.undo()
        with contextlib.suppress(ValueError):
            self.loans.remove(self)
        self.backstop = None
        _open.discard(self)


class Lent(contextlib.AbstractContextManager[T]):
    """Holds a loan while a block runs; yields what the loan's ``begin`` returns."""

    def __init__(self, loan: Loan[T]) -> None:
        self._loan = loan

    def __enter__(self) -> T:
        loan = self._loan
        end_forgotten()
        try:
            return loan.lend_to(self)
        except BaseException:
            insist(loan.end)
            raise

    def __exit__(self, *_: object) -> None:
        try:
            self._loan.end()
        except BaseException:
            # In this frame already: a call more, and the next interruption could prevent it.
            try:
                self._loan.end()
            except BaseException:
                insist(self._loan.end)
                raise
            raise


def insist(end: Callable[[], None]) -> None:
    """Call something that can be begun again, once more after each of several interruptions."""
    try:
        end()
    except BaseException:
        try:
            end()
        except BaseException:
            end()
            raise
        raise


def end_forgotten() -> None:
    """End loans of this thread whose context managers are no more: interrupted in all they did."""
    loans = this_thread.loans
    if loans:
        end_all([loan for loan in loans if loan.backstop is not None and loan.backstop() is None])


def end_all(loans: list[Loan[Any]]) -> None:
    """End loans, the newest first; one that cannot be ended does not keep the others."""
    if loans:
        try:
            loans[-1].end()
        finally:
            end_all(loans[:-1])


class Joining(Loan[None]):
    """Adds an item to the end of a context variable's tuple while a block runs.

    Args:
        variable: holds a tuple.
        item: compared by identity.
    """

    def __init__(self, variable: ContextVar[tuple[Any, ...]], item: object) -> None:
        super().__init__()
        self.variable = variable
        self.item = item
        self._tokens: list[Token[tuple[Any, ...]]] = []

    def begin(self) -> None:
        """Add the item."""
        joined = (*self.variable.get(), self.item)
        # One step for Python: the variable is not set without its token being kept.
        self._tokens.extend(map(self.variable.set, (joined,)))

    def undo(self) -> None:
        """Remove the item, and what was added after it in this context."""
        present = self.variable.get()
        if id(self.item) not in map(id, present):
            return  # undone before, or in a context that never had it
        try:
            self.variable.reset(self._tokens[-1])
        except ValueError:  # a copy of the context
            self.variable.set(tuple(item for item in present if item is not self.item))


def _settle_in_child() -> None:
    """After a fork: the other threads are not there any more, and neither are their loans."""
    lock._at_fork_reinit()  # type: ignore[attr-defined]
    for loan in _open.copy():
        if not loan.in_its_thread():
            loan.end()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_settle_in_child)
