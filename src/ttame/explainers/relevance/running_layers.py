"""Which layer of a network is running at the moment."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from ttame.explainers.relevance.operation_calls import Layer
from ttame.networks.layer_outputs import uncompiled, watching, watching_inputs


@contextlib.contextmanager
def running_layers(network: nn.Module) -> Iterator[Callable[[], Layer | None]]:
    """Follow a network's layers while the block lasts, in this thread.

    Args:
        network: its hooks are removed at the end.

    Yields:
        A function that gives the innermost layer that is running; ``None`` outside of the network.

    Example:
        >>> import torch
        >>> class Asking(nn.Module):
        ...     def forward(self, values):
        ...         print(running().in_words())
        ...         return values
        >>> network = nn.Sequential(nn.ReLU(), Asking())
        >>> with running_layers(network) as running:
        ...     _ = network(torch.ones(1))
        layer '1' (Asking)
    """
    layers: dict[nn.Module, Layer] = {}
    for name, module in uncompiled(network).named_modules(remove_duplicate=False):
        names = (*layers[module].names, name) if module in layers else (name,)
        layers[module] = Layer(names, module)
    running: list[Layer] = []

    def enter(module: nn.Module, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        running.append(layers[module])

    def leave(module: nn.Module, _output: Any) -> None:
        # A layer inside that failed, where the network went on, has not left by itself.
        while running and running.pop().module is not module:
            pass

    with (
        watching_inputs((module, enter) for module in layers),
        watching((module, leave) for module in layers),
    ):
        yield lambda: running[-1] if running else None
