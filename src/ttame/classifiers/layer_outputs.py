"""Reading what layers put out during one forward pass, from any thread, without a trace."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from torch import Tensor, nn

_active: ContextVar[frozenset[int]] = ContextVar("ttame_active_readers", default=frozenset())
"""Which readers the running call opened. A hook that fires in another thread finds its reader
missing here and does nothing, so that concurrent calls never see each other's features."""

OutputAction = Callable[[nn.Module, Any], Any]


@contextlib.contextmanager
def watching(layers: Iterable[tuple[nn.Module, OutputAction]]) -> Iterator[None]:
    """Call an action with the output of each layer while the block runs in this thread.

    Args:
        layers: pairs of a module and ``action(module, output)``; an action that returns
            something other than ``None`` replaces the output.

    The hooks are removed when the block ends, also on exceptions; hooks of other people stay.
    """
    reader = object()
    token = _active.set(_active.get() | {id(reader)})
    handles = []

    def only_here(action: OutputAction) -> Callable[[nn.Module, Any, Any], Any]:
        def hook(module: nn.Module, _inputs: Any, output: Any) -> Any:
            return action(module, output) if id(reader) in _active.get() else None

        return hook

    try:
        for module, action in layers:
            handles.append(module.register_forward_hook(only_here(action)))
        yield
    finally:
        for handle in handles:
            handle.remove()
        _active.reset(token)


@contextlib.contextmanager
def reading(layers: Mapping[str, nn.Module]) -> Iterator[dict[str, Any]]:
    """Collect the outputs of named layers while the block runs in this thread.

    Yields:
        A dict that fills during the forward pass: layer name to output, as the layer returned
        it. A layer that runs several times keeps its last output.

    Example:
        >>> import torch
        >>> network = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
        >>> with reading({"0": network[0]}) as outputs:
        ...     _ = network(torch.zeros(1, 2))
        >>> outputs["0"].shape
        torch.Size([1, 3])
    """
    outputs: dict[str, Any] = {}

    def keep(name: str) -> OutputAction:
        def action(_module: nn.Module, output: Any) -> None:
            outputs[name] = output

        return action

    with watching((module, keep(name)) for name, module in layers.items()):
        yield outputs


def uncompiled(network: nn.Module) -> nn.Module:
    """The module behind ``torch.compile``, whose graph would not call hooks; else ``network``."""
    return getattr(network, "_orig_mod", network)


def first_tensor(output: Any) -> Tensor | None:
    """The tensor in a layer's output: itself, or the first one of a tuple, list or mapping.

    Transformers layers return tuples and dict-like outputs whose first entry is the hidden
    state. ``None`` if there is no tensor.
    """
    if isinstance(output, Tensor):
        return output
    values: Iterable[Any] = ()
    if isinstance(output, Mapping):
        values = output.values()
    elif isinstance(output, tuple | list):
        values = output
    for value in values:
        found = first_tensor(value)
        if found is not None:
            return found
    return None
