"""Values that gradients need are kept, whatever the network's code does with them afterwards.

``torch.utils.checkpoint`` keeps no activations and runs layers again when gradients are taken:
after hooks and replaced functions are gone, and with other flags. Flags of timm and transformers
are switched off by :func:`ttame.networks.frozen_network.frozen`; here is what to do about calls of
``checkpoint`` in the network's own code.

``x += f(x)`` overwrites what the gradient of ``f`` needs, and torch then refuses to take it. Such a
value is copied right before it is overwritten.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch._C import DisableTorchFunction
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode
from torch.utils import checkpoint

from ttame.errors import ClassifierError
from ttame.networks.loans import Lent
from ttame.networks.torch_mode_loans import InFunctionMode


@contextlib.contextmanager
def keeping_activations(network: nn.Module) -> Iterator[None]:
    """Keep what gradients need while the block runs, in this thread, if any are recorded.

    Also where the network asks for checkpointing, and where it works in place.

    Raises:
        ClassifierError: from inside the block, by reentrant checkpointing, which runs without a
            graph and cannot keep one; or later, when gradients are taken, by operations that
            overwrote what gradients need without being seen.
    """
    if not torch.is_grad_enabled():
        yield
        return
    with Lent(InFunctionMode(_KeepingActivations(type(network).__name__))):
        yield


class _KeepingActivations(TorchFunctionMode):
    """Lets every function save its tensors here, in front of the hooks of ``checkpoint``."""

    def __init__(self, network: str) -> None:
        super().__init__()
        self.network = network
        self.kept: dict[int, list[weakref.ref[_Saved]]] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if not torch.is_grad_enabled():
            _refuse_reentrant(self.network)
            return func(*args, **kwargs)
        if _works_in_place(func, args, kwargs):
            self._copy_before(args[0] if args else kwargs.get("input"))
        with saved_tensors_hooks(self._note, _what_was_saved):
            return func(*args, **kwargs)

    def _note(self, tensor: Tensor) -> _Saved:
        with DisableTorchFunction():
            saved = _Saved(tensor, tensor._version, self.network)
            self.kept.setdefault(_memory(tensor), []).append(weakref.ref(saved))
        return saved

    def _copy_before(self, overwritten: Any) -> None:
        """Copy all that was saved of the memory that a function is about to overwrite."""
        if not isinstance(overwritten, Tensor):
            return
        with DisableTorchFunction():
            for reference in self.kept.pop(_memory(overwritten), []):
                saved = reference()
                if saved is not None and saved.tensor._version == saved.version:
                    saved.tensor = saved.tensor.detach().clone()
                    saved.version = saved.tensor._version


@dataclasses.dataclass(eq=False)
class _Saved:
    """A tensor that a gradient needs, as it was when it was saved."""

    tensor: Tensor
    version: int
    network: str


def _what_was_saved(saved: _Saved) -> Tensor:
    """What torch checks itself where it saves tensors without hooks."""
    with DisableTorchFunction():
        is_changed = saved.tensor._version != saved.version
    if is_changed:
        raise ClassifierError(
            f"{saved.network} overwrites values that gradients need, of shape "
            f"{tuple(saved.tensor.shape)}",
            allowed="in-place operations on values that nothing else has used",
            remedy="x = x + y in the network instead of x += y",
        )
    return saved.tensor


def _works_in_place(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    name = getattr(func, "__name__", "")
    if name.startswith("__"):
        return name in _OPERATORS
    return bool(name.endswith("_") or kwargs.get("inplace") is True or (args and args[-1] is True))


_OPERATORS = frozenset(
    f"__{name}__"
    for name in (
        *("setitem", "iadd", "isub", "imul", "itruediv", "ifloordiv", "idiv", "imod", "ipow"),
        *("iand", "ior", "ixor", "ilshift", "irshift"),
    )
)


def _memory(tensor: Tensor) -> int:
    """Where a tensor's values lie, views included; 0 where that is not known."""
    with contextlib.suppress(RuntimeError, NotImplementedError):
        return tensor.untyped_storage().data_ptr()
    return 0
