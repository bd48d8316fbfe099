"""Carrying half-precision values on in float32, through a network's own half-precision weights."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ttame.networks.layer_outputs import uncompiled, watching_inputs
from ttame.networks.loans import Lent
from ttame.networks.torch_mode_loans import InFunctionMode

_HALF = (torch.float16, torch.bfloat16)
_OVERWRITES_BY_NAME = frozenset({"__setitem__", "__set__", "__iadd__", "__isub__", "__imul__"})


def widening() -> contextlib.AbstractContextManager[None]:
    """Let what is float32 stay float32, in this thread, while the block lasts.

    Where an operation meets float32 and half precision, as a linear layer of a half-precision
    network that is given float32 tokens, it runs in float32. What is half precision throughout runs
    as usual, so that a network can be widened from one layer on: by widening that layer's output.

    Example:
        >>> layer = torch.nn.Linear(2, 2, dtype=torch.bfloat16)
        >>> with widening():
        ...     narrow, wide = layer(torch.ones(1, 2).bfloat16()), layer(torch.ones(1, 2))
        >>> narrow.dtype, wide.dtype
        (torch.bfloat16, torch.float32)
    """
    return Lent(InFunctionMode(_Widening()))


@contextlib.contextmanager
def in_float32(network: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Let a network compute in float32 from its input on, with its half-precision weights.

    Relevance divides by sums that nearly cancel, where the roundings of half precision decide.
    Other networks run as they are.

    Args:
        network: not behind ``torch.compile``, or behind it.
        dtype: of its weights.

    Example:
        >>> layer = torch.nn.Linear(2, 2, dtype=torch.bfloat16)
        >>> with in_float32(layer, layer.weight.dtype):
        ...     layer(torch.ones(1, 2).bfloat16()).dtype
        torch.float32
    """
    if dtype not in _HALF:
        yield
        return

    def widen(_network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return as_float32(args), as_float32(kwargs)

    with watching_inputs([(uncompiled(network), widen)]), widening():
        yield


class _Widening(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if not _overwrites(func) and _holds_float32((args, kwargs)):
            args, kwargs = as_float32(args), as_float32(kwargs)
        return func(*args, **kwargs)


def as_float32(value: Any) -> Any:
    """Half-precision tensors as float32, also those in tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return value.float() if value.dtype in _HALF else value
    if type(value) in (tuple, list):
        return type(value)(as_float32(part) for part in value)
    if isinstance(value, dict):
        return {key: as_float32(part) for key, part in value.items()}
    return value


def _holds_float32(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.dtype == torch.float32
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, tuple | list):
        return False
    return any(_holds_float32(part) for part in value)


def _overwrites(function: Callable[..., Any]) -> bool:
    name = getattr(function, "__name__", "")
    return name in _OVERWRITES_BY_NAME or (name.endswith("_") and not name.endswith("__"))
