"""Networks that switch the recording of gradients off in their own code.

``torch.no_grad()`` in a ``forward``, or around a part of one, says that training leaves that part
alone. An explanation asks how scores depend on what is in front of it, which is a question about
numbers, not about training: it is answered as if the network did not switch anything off.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch._C import _set_grad_enabled
from torch.overrides import TorchFunctionMode

from ttame.networks.loans import Lent
from ttame.networks.torch_mode_loans import InFunctionMode


def recording_gradients() -> contextlib.AbstractContextManager[None]:
    """Let nothing in the block switch the recording of gradients off, in this thread.

    Where it is off already, it stays off. ``detach()`` and ``torch.inference_mode`` are left alone.

    Example:
        >>> number = torch.ones(1, requires_grad=True)
        >>> with recording_gradients(), torch.no_grad():
        ...     twice = 2 * number
        >>> twice.requires_grad, torch.is_grad_enabled()
        (True, True)
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
        return func(*args, **(kwargs or {}))
