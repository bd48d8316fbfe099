"""Reading what layers put out during one forward pass, from any thread, without a trace."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

_active: ContextVar[frozenset[int]] = ContextVar("ttame_active_readers", default=frozenset())
"""Which readers the running call opened. A hook that fires in another thread finds its reader
missing here and does nothing, so that concurrent calls never see each other's features."""

_registration_lock = threading.Lock()
"""torch numbers its hooks with a counter that two threads could read at once."""

OutputAction = Callable[[nn.Module, Any], Any]


@contextlib.contextmanager
def watching(layers: Iterable[tuple[nn.Module, OutputAction]]) -> Iterator[None]:
    """Call an action with the output of each layer while the block runs in this thread.

    Args:
        layers: pairs of a module and ``action(module, output)``; an action that returns
            something other than ``None`` replaces the output.

    The hooks are removed when the block ends, also on exceptions; hooks of other people stay.
    """

    def registration(module: nn.Module, action: OutputAction) -> _Registration:
        def register(in_this_call: Callable[[], bool]) -> RemovableHandle:
            def hook(module: nn.Module, _inputs: Any, output: Any) -> Any:
                return action(module, output) if in_this_call() else None

            return module.register_forward_hook(hook)

        return register

    with _hooked(registration(module, action) for module, action in layers):
        yield


InputAction = Callable[
    [nn.Module, tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]] | None
]


@contextlib.contextmanager
def watching_inputs(layers: Iterable[tuple[nn.Module, InputAction]]) -> Iterator[None]:
    """Call an action with the input of each layer while the block runs in this thread.

    Args:
        layers: pairs of a module and ``action(module, args, kwargs)``; an action that returns
            something other than ``None`` replaces args and kwargs.

    The hooks are removed when the block ends, also on exceptions; hooks of other people stay.
    """

    def registration(module: nn.Module, action: InputAction) -> _Registration:
        def register(in_this_call: Callable[[], bool]) -> RemovableHandle:
            # torch notes apart that a hook takes kwargs; while another thread registers or removes
            # its hook, this one may see it without the note. Its own hooks are complete.
            def hook(
                module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None
            ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
                if kwargs is None or not in_this_call():
                    return None
                return action(module, args, kwargs)

            return module.register_forward_pre_hook(hook, with_kwargs=True)

        return register

    with _hooked(registration(module, action) for module, action in layers):
        yield


_Registration = Callable[[Callable[[], bool]], RemovableHandle]
"""Registers a hook that acts only where the given question is answered with yes."""


@contextlib.contextmanager
def _hooked(registrations: Iterable[_Registration]) -> Iterator[None]:
    """Hold hooks that act in this call only, and remove them at its end, whatever happens."""
    reader = object()
    token = _active.set(_active.get() | {id(reader)})
    handles: list[RemovableHandle] = []
    try:
        with _registration_lock:
            for register in registrations:
                handles.append(register(lambda: id(reader) in _active.get()))
        yield
    finally:
        with _registration_lock:
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


@contextlib.contextmanager
def hooks_at_rest() -> Iterator[None]:
    """Keep other threads from adding or removing hooks here, while modules are being copied."""
    with _registration_lock:
        yield


def uncompiled(network: nn.Module) -> nn.Module:
    """The module behind ``torch.compile``, whose graph would not call hooks; else ``network``."""
    return getattr(network, "_orig_mod", network)


_eager_lock = threading.Lock()
_eager_callers = 0
_eager_stance = contextlib.ExitStack()


@contextlib.contextmanager
def running_eagerly(network: nn.Module) -> Iterator[None]:
    """Run compiled parts of ``network`` as plain Python while the block lasts.

    The graph of a module that was compiled in place (``module.compile()``), or of a compiled
    module inside the network, would skip the hooks that read features. Any number of threads may
    ask for it at once. Networks without compiled parts cost only a look.
    """
    global _eager_callers
    if not any(_is_compiled(module) for module in network.modules()):
        yield
        return
    with _eager_lock:
        if not _eager_callers:
            _eager_stance.enter_context(torch.compiler.set_stance("force_eager"))
        _eager_callers += 1
    try:
        yield
    finally:
        with _eager_lock:
            _eager_callers -= 1
            if not _eager_callers:
                _eager_stance.close()


def _is_compiled(module: nn.Module) -> bool:
    return getattr(module, "_compiled_call_impl", None) is not None or "_orig_mod" in vars(
        module
    ).get("_modules", {})


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
