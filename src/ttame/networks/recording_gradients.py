"""Networks that switch the recording of gradients off in their own code.

``torch.no_grad()`` or ``torch.inference_mode()`` in a ``forward``, or around a part of one, says
that training leaves that part alone. An explanation asks how scores depend on what is in front of
it, which is a question about numbers, not about training: it is answered as if the network did not
switch anything off.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch._C import _set_grad_enabled
from torch.autograd import Function
from torch.overrides import TorchFunctionMode

from ttame.errors import ClassifierError
from ttame.networks.loans import Lent
from ttame.networks.torch_mode_loans import InFunctionMode


def recording_gradients() -> contextlib.AbstractContextManager[None]:
    """Let nothing in the block switch the recording of gradients off, in this thread.

    Where it is off already, it stays off. ``detach()`` is left alone.

    Raises:
        ClassifierError: from inside the block, by a function with a backward pass of its own in
            ``torch.inference_mode()``, where torch keeps none.

    Example:
        >>> number = torch.ones(1, requires_grad=True)
        >>> with recording_gradients(), torch.no_grad():
        ...     twice = 2 * number
        >>> twice.requires_grad, torch.is_grad_enabled()
        (True, True)
        >>> with recording_gradients(), torch.inference_mode():
        ...     twice = 2 * number
        >>> twice.requires_grad, twice.is_inference()
        (True, False)
    """
    if not torch.is_grad_enabled():
        return contextlib.nullcontext()
    return Lent(InFunctionMode(_Recording()))


class _Recording(TorchFunctionMode):
    """Passes over what would switch recording off, but not over the end of what switched it on."""

    def __init__(self) -> None:
        super().__init__()
        # Functions of the user's with a backward pass of their own run without recording, and may
        # switch it on for a while.
        self.switched_on = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is _set_grad_enabled and args[0] != torch.is_grad_enabled():
            if args[0]:
                self.switched_on += 1
            elif self.switched_on:
                self.switched_on -= 1
            else:
                return None
        elif torch.is_inference_mode_enabled():
            _refuse_own_backward()
            with torch.inference_mode(False):  # which switches recording on, too
                return func(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _refuse_own_backward() -> None:
    """What such a function returns in inference mode is cut off, whatever it is made of."""
    names = {_code(kind): kind.__name__ for kind in _kinds_below(Function)}
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code in names:
            raise ClassifierError(
                f"{names[frame.f_code]}, a torch.autograd.Function, runs in "
                "torch.inference_mode(), where it has no gradient",
                remedy="the network without torch.inference_mode()",
            )
        frame = frame.f_back  # type: ignore[assignment]


def _kinds_below(kind: type) -> Iterator[type]:
    below: type
    for below in kind.__subclasses__():
        yield below
        yield from _kinds_below(below)


def _code(kind: type) -> object:
    return getattr(getattr(kind, "forward", None), "__code__", None)
