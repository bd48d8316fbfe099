"""What taps read in one forward pass."""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from ttame.networks.function_replacement import Operation, Replacement, replacing_functions
from ttame.networks.layer_outputs import (
    InputAction,
    OutputAction,
    first_tensor,
    put_first_tensor,
    watching,
    watching_inputs,
)
from ttame.networks.network_trace import NetworkTrace


class TapReading:
    """Collects what taps read in one forward pass.

    A tap says in its ``read`` what it has to watch; the hooks are there while :meth:`watching`
    lasts, for this thread only.

    Args:
        network: not behind ``torch.compile``.
        trace: the trace of the network.
        passing_copies: where a layer's output carries a graph, let the network go on with a copy
            of it, so that layers that work in place behind it leave it alone.

    Attributes:
        outputs: tap to what it read: a layer's (first) output tensor, or what its kind of tap
            computes, in the layer's layout. Fills during the pass.
    """

    def __init__(
        self, network: nn.Module, trace: NetworkTrace, *, passing_copies: bool = False
    ) -> None:
        self.network = network
        self.trace = trace
        self.outputs: dict[Any, Any] = {}
        self._passing_copies = passing_copies
        self._versions: dict[Hashable, int] = {}
        self._exits: list[tuple[nn.Module, OutputAction]] = []
        self._entries: list[tuple[nn.Module, InputAction]] = []
        self._replacements: list[Mapping[Operation, Replacement]] = []
        self._contexts: list[contextlib.AbstractContextManager[None]] = []

    def at_output(self, layer: str, action: OutputAction) -> None:
        """Call ``action(module, output)`` after each run of a layer."""
        self._exits.append((self.network.get_submodule(layer), action))

    def at_input(self, layer: str, action: InputAction) -> None:
        """Call ``action(module, args, kwargs)`` before each run of a layer."""
        self._entries.append((self.network.get_submodule(layer), action))

    def replacing(self, replacements: Mapping[Operation, Replacement]) -> None:
        """Replace single operations during the pass."""
        self._replacements.append(replacements)

    def during(self, context: contextlib.AbstractContextManager[None]) -> None:
        """Be in a context during the pass."""
        self._contexts.append(context)

    def keep(self, tap: Hashable, output: Any) -> Any:
        """Keep a layer's output as it was put out, whatever works on it in place afterwards.

        Returns:
            What the network should go on with; ``None`` for the output itself.
        """
        tensor = first_tensor(output)
        if tensor is None or not tensor.requires_grad:
            self.outputs[tap] = None if tensor is None else tensor.clone()
            return None
        # With a graph the tensor itself is kept, since gradients are taken with respect to it.
        self.outputs[tap] = tensor
        if self._passing_copies:
            return put_first_tensor(output, tensor.clone())
        self._versions[tap] = tensor._version
        return None

    @property
    def was_changed(self) -> bool:
        """Whether something worked in place on an output that was kept; copies prevent it."""
        return any(self.outputs[tap]._version != was for tap, was in self._versions.items())

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch what the taps asked for while the block runs one forward pass."""
        try:
            with contextlib.ExitStack() as stack:
                stack.enter_context(watching(self._exits))
                stack.enter_context(watching_inputs(self._entries))
                for replacements in self._replacements:
                    stack.enter_context(replacing_functions(replacements))
                for context in self._contexts:
                    stack.enter_context(context)
                yield
        finally:
            # Actions know this reading: in a ring, what was read would wait for the garbage
            # collector, which does not see how large it is.
            for watched in (self._exits, self._entries, self._replacements, self._contexts):
                watched.clear()


class ReadsItself(Protocol):
    """A tap, as a reading sees it."""

    def read(self, reading: TapReading) -> None:
        """Say what has to be watched, so that ``reading.outputs[self]`` fills."""


@contextlib.contextmanager
def reading_taps(
    network: nn.Module,
    trace: NetworkTrace,
    taps: Sequence[ReadsItself],
    *,
    passing_copies: bool = False,
) -> Iterator[TapReading]:
    """Collect what taps read in the one forward pass that the block runs in this thread.

    Args:
        network: not behind ``torch.compile``.
        trace: the trace of the network.
        taps: taps of any kind.
        passing_copies: see :class:`TapReading`.
    """
    reading = TapReading(network, trace, passing_copies=passing_copies)
    for tap in taps:
        tap.read(reading)
    with reading.watching():
        yield reading


def kept_copy(output: Any) -> Tensor | None:
    """A copy of the (first) tensor in an output, in its graph if it has one."""
    tensor = first_tensor(output)
    return None if tensor is None else tensor.clone()
