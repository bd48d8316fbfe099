"""Temporary changes that are undone, whatever interrupts them.

Ctrl-C, a SIGTERM handler or a timeout can raise an exception between any two steps of Python code:
also before the first step of an ``__exit__``, which then never runs. So a change is more than a
context manager here:

- It is a :class:`Loan`, which is noted before anything changes and forgotten after everything was
  undone. Undoing may be begun again from wherever it was left, as often as it takes.
- Whatever is public and changes something is a function that :func:`gives_everything_back`. It ends
  the loans that were made while it ran and whose own end was missed, in its own frame, where no
  interruption can get between an exception and its handler.
- A loan outside of such a function, whose end was missed, ends when nobody holds its context
  manager any more: at the latest when the exception is forgotten.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import traceback
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextvars import ContextVar, Token
from typing import Any, Generic, ParamSpec, TypeVar

import torch

# torch has no public question for how deep its stacks of modes are.
from torch._C import (
    _get_function_stack_at,
    _len_torch_dispatch_stack,
    _len_torch_function_stack,
    _pop_torch_dispatch_stack,
    _pop_torch_function_stack,
)
from torch._C._dynamo.guards import set_is_in_mode_without_ignore_compile_internals
from torch.overrides import TorchFunctionMode
from torch.utils import _device, _python_dispatch

T = TypeVar("T")
P = ParamSpec("P")

_TORCH = os.path.dirname(torch.__file__)

lock = threading.RLock()
"""Held for moments by everyone who changes what threads share: modes and flags, hooks, switches of
a process. One lock, so that no two wait for each other; a thread may take it again, because a loan
whose end was missed may end in the middle of anything, when its context manager is collected."""


class _OfThread(threading.local):
    def __init__(self) -> None:
        self.loans: list[Loan[Any]] = []
        self.depth = 0  # of functions that give everything back


_this_thread = _OfThread()
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
        _end_forgotten()
        try:
            loan.thread, loan.loans = threading.get_ident(), _this_thread.loans
            loan.backstop = weakref.ref(self, lambda _: _insist(loan.end))
            _open.add(loan)
            loan.loans.append(loan)
            return loan.begin()
        except BaseException:
            _insist(loan.end)
            raise

    def __exit__(self, *_: object) -> None:
        try:
            self._loan.end()
        except BaseException:
            # In this frame already: a call more, and the next interruption could prevent it.
            try:
                self._loan.end()
            except BaseException:
                _insist(self._loan.end)
                raise
            raise


def _insist(end: Callable[[], None]) -> None:
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


def gives_everything_back(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function leave its thread and every network as it found them, also when interrupted.

    Loans made while it ran and not given back end with it, the newest first; then
    gradient mode and the stacks of torch's modes are put back as they were. Costs microseconds.

    The outermost one runs without its caller's autocast and inference mode.

    Not for a function that returns a context manager or a generator, whose loans outlive it.

    Example:
        >>> @gives_everything_back
        ... def careless():
        ...     torch.set_grad_enabled(False)
        >>> careless()
        >>> torch.is_grad_enabled()
        True
    """

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        _end_forgotten()
        found = _thread_state()
        try:
            _this_thread.depth += 1
            if _this_thread.depth == 1 and _is_switched():
                with Lent(_PlainModes()):
                    result = function(*args, **kwargs)
            else:
                result = function(*args, **kwargs)
            _this_thread.depth -= 1
            # An exception that was caught inside may have left something, too.
            if _thread_state() != found:
                _put_back(found)
            return result
        except BaseException as problem:
            # Nested, not a loop, which could be interrupted where it jumps back.
            try:
                _put_back(found, problem)
            except BaseException:
                try:
                    _put_back(found, problem)
                except BaseException:
                    _insist(functools.partial(_put_back, found, problem))
                    raise
                raise
            raise

    return guarded


def _end_forgotten() -> None:
    """End loans of this thread whose context managers are no more: interrupted in all they did."""
    loans = _this_thread.loans
    if loans:
        _end_all([loan for loan in loans if loan.backstop is not None and loan.backstop() is None])


_DEVICES = ("cpu", "cuda", "xpu", "mps")


def _is_switched() -> bool:
    return torch.is_inference_mode_enabled() or any(map(torch.is_autocast_enabled, _DEVICES))


class _PlainModes(Loan[None]):
    """No autocast, no inference mode; gradients stay on or off. May be undone twice."""

    def __init__(self) -> None:
        super().__init__()
        self._autocast = [device for device in _DEVICES if torch.is_autocast_enabled(device)]
        self._gradients = torch.is_grad_enabled()
        self._inference: torch.inference_mode | None = None

    def begin(self) -> None:
        if torch.is_inference_mode_enabled():
            self._inference = torch.inference_mode(False)
            self._inference.__enter__()
            torch.set_grad_enabled(self._gradients)
        for device in self._autocast:
            torch.set_autocast_enabled(device, False)

    def undo(self) -> None:
        if not self.in_its_thread():
            return
        for device in self._autocast:
            torch.set_autocast_enabled(device, True)
        if self._inference is not None:
            with contextlib.suppress(AttributeError):
                self._inference.__exit__(None, None, None)
        torch.set_grad_enabled(self._gradients)


_State = tuple[tuple[Loan[Any], ...], bool, int, int, object, int]


def _thread_state() -> _State:
    return (
        tuple(_this_thread.loans),
        torch.is_grad_enabled(),
        _len_torch_function_stack(),
        _len_torch_dispatch_stack(),
        _device.CURRENT_DEVICE,
        _this_thread.depth,
    )


def _put_back(found: _State, problem: BaseException | None = None) -> None:
    loans, gradients, function_modes, dispatch_modes, device, _this_thread.depth = found
    _finish_interrupted(problem)
    _end_all([loan for loan in _this_thread.loans if loan not in loans])
    while _len_torch_function_stack() > function_modes:
        _pop_torch_function_stack()
    while _len_torch_dispatch_stack() > dispatch_modes:
        _pop_torch_dispatch_stack(None)
    _device.CURRENT_DEVICE = device  # type: ignore[assignment]
    torch.set_grad_enabled(gradients)


_OF_GENERATORS = {
    contextlib._GeneratorContextManager.__enter__.__code__,
    contextlib._GeneratorContextManager.__exit__.__code__,
}


def _finish_interrupted(problem: BaseException | None) -> None:
    """Let torch's context managers end whose own beginning or end was interrupted.

    torch takes a mode off its stack while that mode is asked, in a generator that puts it back.
    One that was interrupted would do so when the exception is forgotten: after everything else was
    put back, and for good.
    """
    seen: set[BaseException] = set()
    while problem is not None and problem not in seen:
        seen.add(problem)
        for frame, _ in traceback.walk_tb(problem.__traceback__):
            if frame.f_code in _OF_GENERATORS:
                generator = frame.f_locals["self"].gen
                if generator.gi_code.co_filename.startswith(_TORCH) and not generator.gi_running:
                    generator.close()
        problem = problem.__context__


def _end_all(loans: list[Loan[Any]]) -> None:
    """End loans, the newest first; one that cannot be ended does not keep the others."""
    if loans:
        try:
            loans[-1].end()
        finally:
            _end_all(loans[:-1])


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


class InFunctionMode(Loan[None]):
    """Lets torch ask a mode about every function of this thread while a block runs."""

    def __init__(self, mode: TorchFunctionMode) -> None:
        super().__init__()
        self.mode = mode

    def begin(self) -> None:
        """Put the mode on the stack."""
        self.mode.__enter__()  # type: ignore[no-untyped-call]

    def undo(self) -> None:
        """Take the mode off the stack, and with it modes above whose own end was missed."""
        while id(self.mode) in map(id, self._stack()):
            _pop_torch_function_stack()

    def _stack(self) -> Iterable[object]:
        return [_get_function_stack_at(place) for place in range(_len_torch_function_stack())]


_dispatching: set[InDispatchMode[Any]] = set()
_flags_before: dict[str, bool] = {}
"""What torch notes for all threads about their dispatch modes, as the first of them found it."""


class InDispatchMode(Loan[T]):
    """Lets torch ask a ``TorchDispatchMode`` about every operation of this thread.

    Args:
        enter: the mode's ``__enter__``.
    """

    def __init__(self, enter: Callable[[], T]) -> None:
        super().__init__()
        self.enter = enter
        self._depth: int | None = None

    def begin(self) -> T:
        """Put the mode on the stack."""
        self._depth = _len_torch_dispatch_stack()
        with lock:
            if not _dispatching:
                flags = vars(_python_dispatch).copy().items()
                _flags_before.update({name: on for name, on in flags if isinstance(on, bool)})
            _dispatching.add(self)
        return self.enter()

    def undo(self) -> None:
        """Take the mode off the stack, and with it modes above whose own end was missed."""
        # Not by its __exit__, which cannot be called again after an interruption.
        while self.in_its_thread() and _len_torch_dispatch_stack() > (self._depth or 0):
            _pop_torch_dispatch_stack(None)
        with lock:
            if _dispatching == {self}:
                vars(_python_dispatch).update(_flags_before)
                set_is_in_mode_without_ignore_compile_internals(
                    _python_dispatch._is_in_any_mode_without_ignore_compile_internals
                )
            _dispatching.discard(self)


def _settle_in_child() -> None:
    """After a fork: the other threads are not there any more, and neither are their loans."""
    lock._at_fork_reinit()  # type: ignore[attr-defined]
    for loan in _open.copy():
        if not loan.in_its_thread():
            loan.end()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_settle_in_child)
