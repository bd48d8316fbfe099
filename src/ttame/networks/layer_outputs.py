"""Reading what layers put out during one forward pass, from any thread, without a trace."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ttame.errors import TapError, kind_of
from ttame.networks.loans import Joining, Lent, Loan, lock
from ttame.networks.module_walk import all_modules

_active: ContextVar[tuple[object, ...]] = ContextVar("ttame_active_readers", default=())
"""Which readers the running call opened. A hook that fires in another thread finds its reader
missing here and does nothing, so that concurrent calls never see each other's features."""

OutputAction = Callable[[nn.Module, Any], Any]


def watching(
    layers: Iterable[tuple[nn.Module, OutputAction]],
) -> contextlib.AbstractContextManager[None]:
    """Call an action with the output of each layer while the block runs in this thread.

    Args:
        layers: pairs of a module and ``action(module, output)``; an action that returns
            something other than ``None`` replaces the output.

    The hooks are removed when the block ends, also on exceptions; hooks of other people stay.
    """

    def hook_of(action: OutputAction, in_this_call: Callable[[], bool]) -> Callable[..., Any]:
        def hook(module: nn.Module, _inputs: Any, output: Any) -> Any:
            return action(module, output) if in_this_call() else None

        return hook

    return Lent(_HoldingHooks(layers, hook_of, _register_for_outputs))


InputAction = Callable[
    [nn.Module, tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]] | None
]


def watching_inputs(
    layers: Iterable[tuple[nn.Module, InputAction]],
) -> contextlib.AbstractContextManager[None]:
    """Call an action with the input of each layer while the block runs in this thread.

    Args:
        layers: pairs of a module and ``action(module, args, kwargs)``; an action that returns
            something other than ``None`` replaces args and kwargs.

    The hooks are removed when the block ends, also on exceptions; hooks of other people stay.
    """

    # torch notes apart that a hook takes kwargs; while another thread registers or removes its
    # hook, this one may see it without the note. Its own hooks are complete.
    def hook_of(action: InputAction, in_this_call: Callable[[], bool]) -> Callable[..., Any]:
        def hook(
            module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None
        ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
            if kwargs is None or not in_this_call():
                return None
            return action(module, args, kwargs)

        return hook

    return Lent(_HoldingHooks(layers, hook_of, _register_for_inputs))


def _register_for_outputs(module: nn.Module, hook: Callable[..., Any]) -> None:
    module.register_forward_hook(hook)


def _register_for_inputs(module: nn.Module, hook: Callable[..., Any]) -> None:
    module.register_forward_pre_hook(hook, with_kwargs=True)


_Action = TypeVar("_Action")


class _HoldingHooks(Loan[None]):
    """Hooks that act in this call only."""

    def __init__(
        self,
        layers: Iterable[tuple[nn.Module, _Action]],
        hook_of: Callable[[_Action, Callable[[], bool]], Callable[..., Any]],
        register: Callable[[nn.Module, Callable[..., Any]], None],
    ) -> None:
        super().__init__()
        reader = object()
        self.reader = Joining(_active, reader)
        self.register = register
        self.hooks = [
            (module, hook_of(action, lambda: reader in _active.get())) for module, action in layers
        ]

    def begin(self) -> None:
        self.reader.begin()
        # torch numbers its hooks with a counter that two threads could read at once.
        with lock:
            for module, hook in self.hooks:
                self.register(module, hook)

    def undo(self) -> None:
        with lock:
            for module, hook in self.hooks:
                _remove(module, hook)
        self.reader.undo()


def _remove(module: nn.Module, hook: Callable[..., Any]) -> None:
    """What the handle of a hook does, which registering may have been too interrupted to return."""
    hooks: Any
    for hooks, notes in (
        (module._forward_hooks, ("_forward_hooks_with_kwargs", "_forward_hooks_always_called")),
        (module._forward_pre_hooks, ("_forward_pre_hooks_with_kwargs",)),
    ):
        for key in [key for key, registered in hooks.copy().items() if registered is hook]:
            # The hook last: it is how the notes are found, should this be interrupted.
            for note in notes:
                getattr(module, note).pop(key, None)
            hooks.pop(key, None)


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


def hooks_at_rest() -> contextlib.AbstractContextManager[object]:
    """Keep other threads from adding or removing hooks here, while modules are being copied."""
    return lock


def uncompiled(network: nn.Module) -> nn.Module:
    """The module behind ``torch.compile``, whose graph would not call hooks; else ``network``.

    Also the one that ``DataParallel``, ``DistributedDataParallel`` or ``AveragedModel`` wraps.
    """
    while True:
        if isinstance(network, _WRAPPERS):
            network = network.module
        elif "_orig_mod" in vars(network).get("_modules", {}):
            network = network.get_submodule("_orig_mod")
        else:
            return network


_WRAPPERS = (
    nn.DataParallel,
    nn.parallel.DistributedDataParallel,
    torch.optim.swa_utils.AveragedModel,
)


_eager: set[_RunningEagerly] = set()
_stance_before: list[Any] = []
"""The compiler's stance that the first of them found."""


def running_eagerly(network: nn.Module) -> contextlib.AbstractContextManager[None]:
    """Run compiled parts of ``network`` as plain Python while the block lasts.

    The graph of a module that was compiled in place (``module.compile()``), or of a compiled
    module inside the network, would skip the hooks that read features. Any number of threads may
    ask for it at once. Networks without compiled parts cost only a look.
    """
    if not any(_is_compiled(module) for module in all_modules(network)):
        return contextlib.nullcontext()
    return Lent(_RunningEagerly())


class _RunningEagerly(Loan[None]):
    def begin(self) -> None:
        from torch._dynamo import eval_frame

        with lock:
            if not _eager:
                _stance_before[:] = [eval_frame._stance]
            _eager.add(self)
            torch.compiler.set_stance("force_eager")

    def undo(self) -> None:
        from torch._dynamo import eval_frame

        with lock:
            if _eager == {self}:
                eval_frame._set_stance(_stance_before[0])
            _eager.discard(self)


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


def put_first_tensor(output: Any, tensor: Tensor) -> Any:
    """A layer's output with its first tensor exchanged: the tensor itself, or the tuple's first.

    Raises:
        TapError: an output of another kind.
    """
    if isinstance(output, Tensor):
        return tensor
    if isinstance(output, Sequence) and output and isinstance(output[0], Tensor):
        return type(output)([tensor, *output[1:]])  # type: ignore[call-arg]
    raise TapError(f"a layer that returns {kind_of(output)}", allowed="tokens, or a tuple")
