"""Networks that compute activations a second time in the backward pass.

``torch.utils.checkpoint`` keeps no activations and runs layers again when gradients are taken:
after hooks and replaced functions are gone, and with other flags. Flags of timm and transformers
are switched off by :func:`ttame.networks.frozen_network.frozen`; here is what to do about calls of
``checkpoint`` in the network's own code.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode
from torch.utils import checkpoint

from ttame.errors import ClassifierError
from ttame.networks.frozen_network import CHECKPOINTING
from ttame.networks.loans import Lent
from ttame.networks.module_walk import all_modules
from ttame.networks.torch_mode_loans import InFunctionMode


@contextlib.contextmanager
def keeping_activations(network: nn.Module) -> Iterator[None]:
    """Keep activations also where the network asks for checkpointing, while the block runs.

    Networks whose code does not mention checkpointing cost a look; nothing changes for them.

    Raises:
        ClassifierError: from inside the block, by reentrant checkpointing, which runs without a
            graph and cannot keep one; or later, when gradients are taken, by operations that
            overwrote what gradients need.
    """
    if not torch.is_grad_enabled() or not any(map(_may_checkpoint, all_modules(network))):
        yield
        return
    with Lent(InFunctionMode(_KeepingActivations(type(network).__name__))):
        yield


class _KeepingActivations(TorchFunctionMode):
    """Lets every function save its tensors as usual, in front of the hooks of ``checkpoint``."""

    def __init__(self, network: str) -> None:
        super().__init__()
        self.network = network

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if not torch.is_grad_enabled():
            _refuse_reentrant(self.network)
            return func(*args, **(kwargs or {}))
        with saved_tensors_hooks(_noted, self._unchanged):
            return func(*args, **(kwargs or {}))

    def _unchanged(self, noted: tuple[Tensor, int]) -> Tensor:
        """What torch checks itself where it saves tensors without hooks."""
        saved, version = noted
        if saved._version != version:
            raise ClassifierError(
                f"{self.network} overwrites values that gradients need, of shape "
                f"{tuple(saved.shape)}",
                allowed="in-place operations on values that nothing else has used",
                remedy="x = x + y in the network instead of x += y",
            )
        return saved


def _noted(saved: Tensor) -> tuple[Tensor, int]:
    return saved, saved._version


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
