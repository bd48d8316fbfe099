"""Loans of what torch keeps for a thread: modes, autocast, inference mode."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor

# torch has no public question for how deep its stacks of modes are.
from torch._C import (
    _get_function_stack_at,
    _len_torch_dispatch_stack,
    _len_torch_function_stack,
    _pop_torch_dispatch_stack,
    _pop_torch_function_stack,
)
from torch._C._autograd import (
    _pop_saved_tensors_default_hooks,
    _push_saved_tensors_default_hooks,
    _top_saved_tensors_default_hooks,
)
from torch._C._dynamo.guards import set_is_in_mode_without_ignore_compile_internals
from torch.overrides import TorchFunctionMode
from torch.utils import _python_dispatch

from ttame.networks.loans import Loan, lock

T = TypeVar("T")

_DEVICES = ("cpu", "cuda", "xpu", "mps")


def are_plain() -> bool:
    """Whether this thread has neither autocast nor inference mode."""
    return not (torch.is_inference_mode_enabled() or any(map(torch.is_autocast_enabled, _DEVICES)))


class PlainModes(Loan[None]):
    """No autocast, no inference mode; gradients stay on or off. May be undone twice."""

    def __init__(self) -> None:
        super().__init__()
        self._autocast = [device for device in _DEVICES if torch.is_autocast_enabled(device)]
        self._gradients = torch.is_grad_enabled()
        self._inference: torch.inference_mode | None = None

    def begin(self) -> None:
        """Switch off what the caller has on."""
        if torch.is_inference_mode_enabled():
            self._inference = torch.inference_mode(False)
            self._inference.__enter__()
            torch.set_grad_enabled(self._gradients)
        for device in self._autocast:
            torch.set_autocast_enabled(device, False)

    def undo(self) -> None:
        """Switch it on again."""
        if not self.in_its_thread():
            return
        for device in self._autocast:
            torch.set_autocast_enabled(device, True)
        if self._inference is not None:
            with contextlib.suppress(AttributeError):
                self._inference.__exit__(None, None, None)
        torch.set_grad_enabled(self._gradients)


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


class InSavingHooks(Loan[None]):
    """Lets functions of this thread save what gradients need by hooks while a block runs.

    Args:
        pack: given a tensor, returns what is kept instead.
        unpack: given that, returns the tensor.
    """

    def __init__(self, pack: Callable[[Tensor], T], unpack: Callable[[T], Tensor]) -> None:
        super().__init__()
        self.pack = pack
        self.unpack = unpack

    def begin(self) -> None:
        """Put the hooks on the stack."""
        _push_saved_tensors_default_hooks(self.pack, self.unpack)

    def undo(self) -> None:
        """Take them off the stack, if they are its last ones; others are not ours."""
        last = _top_saved_tensors_default_hooks(False) if self.in_its_thread() else None
        if last is not None and last[0] is self.pack:
            _pop_saved_tensors_default_hooks()


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
