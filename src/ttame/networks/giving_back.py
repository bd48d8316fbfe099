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
import traceback
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch._C import (
    _len_torch_dispatch_stack,
    _len_torch_function_stack,
    _pop_torch_dispatch_stack,
    _pop_torch_function_stack,
)
from torch.utils import _device

from ttame.networks.loans import Lent, Loan, end_all, end_forgotten, insist, this_thread
from ttame.networks.torch_mode_loans import PlainModes, are_plain

T = TypeVar("T")
P = ParamSpec("P")

_TORCH = os.path.dirname(torch.__file__)


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
        end_forgotten()
        found = _thread_state()
        try:
            this_thread.depth += 1
            if this_thread.depth == 1 and not are_plain():
                with Lent(PlainModes()):
                    result = function(*args, **kwargs)
            else:
                result = function(*args, **kwargs)
            this_thread.depth -= 1
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
                    insist(functools.partial(_put_back, found, problem))
                    raise
                raise
            raise

    return guarded


_State = tuple[tuple[Loan[Any], ...], bool, int, int, object, int]


def _thread_state() -> _State:
    return (
        tuple(this_thread.loans),
        torch.is_grad_enabled(),
        _len_torch_function_stack(),
        _len_torch_dispatch_stack(),
        _device.CURRENT_DEVICE,
        this_thread.depth,
    )


def _put_back(found: _State, problem: BaseException | None = None) -> None:
    loans, gradients, function_modes, dispatch_modes, device, this_thread.depth = found
    _finish_interrupted(problem)
    end_all([loan for loan in this_thread.loans if loan not in loans])
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
