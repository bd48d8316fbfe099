"""Telling what a signal handler raised from what the code that it interrupted raised."""

from __future__ import annotations

import functools
import signal
import traceback
from types import CodeType, FunctionType, MethodType


def raised_by_signal_handler(problem: BaseException) -> bool:
    """Whether a signal handler raised an exception, such as a time limit that was set by ``alarm``.

    It strikes wherever the program happens to be, and says nothing about the network or the photo
    there: it goes on to the code that set the limit, as it is. What is raised in another way at any
    moment, with ``PyThreadState_SetAsyncExc``, is not recognised.

    Example:
        >>> def too_late(*_):
        ...     raise TimeoutError("2 seconds are over")
        >>> found = signal.signal(signal.SIGTERM, too_late)
        >>> try:
        ...     signal.raise_signal(signal.SIGTERM)
        ... except TimeoutError as problem:
        ...     raised_by_signal_handler(problem)
        ... finally:
        ...     _ = signal.signal(signal.SIGTERM, found)
        True
        >>> raised_by_signal_handler(TimeoutError())
        False
    """
    handlers = {_code_of(signal.getsignal(number)) for number in signal.valid_signals()} - {None}
    return any(frame.f_code in handlers for frame, _ in traceback.walk_tb(problem.__traceback__))


def _code_of(handler: object) -> CodeType | None:
    """What runs, of functions, methods, partial functions and objects that can be called."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    if not callable(handler):  # the system's own, or none
        return None
    function = handler if isinstance(handler, FunctionType | MethodType) else type(handler).__call__
    code = getattr(function, "__code__", None)
    return code if isinstance(code, CodeType) else None
