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
import functools
import sys
import weakref
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

import torch
from torch import Tensor, nn
from torch._C import DisableTorchFunction
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode
from torch.utils import checkpoint

from ttame.errors import ClassifierError
from ttame.networks.frozen_network import CHECKPOINTING
from ttame.networks.loans import Lent
from ttame.networks.module_walk import all_modules
from ttame.networks.torch_mode_loans import InFunctionMode, InSavingHooks


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
    checkpoints = any(map(_may_checkpoint, all_modules(network)))
    mode = _KeepingActivations(type(network).__name__, checkpoints)
    hooks = InSavingHooks(mode.note, _what_was_saved)
    with Lent(hooks), Lent(InFunctionMode(mode)):
        yield


class _KeepingActivations(TorchFunctionMode):
    """Sees what is saved for gradients, and copies it before it is overwritten.

    Args:
        network: its name.
        checkpoints: whether its code mentions checkpointing; every function then saves its tensors
            in front of the hooks of ``checkpoint``.
    """

    def __init__(self, network: str, checkpoints: bool) -> None:
        super().__init__()
        self.network = network
        self.checkpoints = checkpoints
        self.kept: dict[int, list[weakref.ref[_Saved]]] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if _works_in_place(func, args, kwargs):
            self._copy_before(args[0] if args else kwargs.get("input"))
        if not self.checkpoints:
            return func(*args, **kwargs)
        if not torch.is_grad_enabled():
            _refuse_reentrant(self.network)
            return func(*args, **kwargs)
        with saved_tensors_hooks(self.note, _what_was_saved):
            return func(*args, **kwargs)

    def note(self, tensor: Tensor) -> _Saved:
        """A function saves this tensor for its gradient."""
        with DisableTorchFunction():
            # The values alone: an output, such as a softmax's, holds the function that saves it. As
            # a ring through torch's own objects, no garbage collector would see it.
            saved = _Saved(tensor.detach(), tensor._version, self.network)
            self.kept.setdefault(_memory(tensor), []).append(weakref.ref(saved))
        return saved

    def _copy_before(self, overwritten: Any) -> None:
        """Copy all that was saved of the memory that a function is about to overwrite."""
        if not isinstance(overwritten, Tensor):
            return
        with DisableTorchFunction():
            for reference in self.kept.pop(_memory(overwritten), []):
                saved = reference()
                if saved is not None:
                    saved.copy()


@dataclasses.dataclass(eq=False)
class _Saved:
    """A tensor that a gradient needs, as it was when it was saved."""

    tensor: Tensor
    version: int
    network: str

    def copy(self) -> None:
        """Leave the memory to those who overwrite it, unless that has happened already."""
        if self.tensor._version == self.version:
            self.tensor = self.tensor.detach().clone()
            self.version = self.tensor._version


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


def _refuse_reentrant(network: str) -> None:
    frame = sys._getframe(2)
    reentrant = checkpoint.CheckpointFunction.forward.__code__
    while frame is not None:
        if frame.f_code is reentrant:
            raise ClassifierError(
                f"{network} runs layers under activation checkpointing with use_reentrant=True, "
                "which records no gradients",
                remedy="the network with checkpointing switched off, or use_reentrant=False",
            )
        frame = frame.f_back  # type: ignore[assignment]


def _may_checkpoint(module: nn.Module) -> bool:
    """Not where a flag rules it, which is held off meanwhile."""
    mentioned = _mentions_checkpoint(_Kind(type(module)))
    return mentioned and not any(hasattr(module, flag) for flag in CHECKPOINTING)


@dataclasses.dataclass(frozen=True)
class _Kind:
    kind: type[nn.Module]


@functools.cache
def _mentions_checkpoint(of: _Kind) -> bool:
    """Whether the code of a module's class, or of its module's functions, mentions it."""
    kind = of.kind
    if kind.__module__.startswith("torch."):
        return False
    codes = [
        function.__code__
        for base in kind.__mro__
        if not base.__module__.startswith("torch.")
        for function in vars(base).values()
        if hasattr(function, "__code__")
    ]
    names = {name for code in codes for name in _names_in(code)}
    file = vars(sys.modules.get(kind.__module__, object)).items()
    known = {name for name, value in file if _is_of_checkpoint(value)}
    return bool(names & known) or any("checkpoint" in name for name in names)


def _is_of_checkpoint(value: object) -> bool:
    return value is checkpoint or getattr(value, "__module__", None) == checkpoint.__name__


def _names_in(code: CodeType) -> set[str]:
    inside = [const for const in code.co_consts if isinstance(const, CodeType)]
    return {*code.co_names}.union(*map(_names_in, inside))
