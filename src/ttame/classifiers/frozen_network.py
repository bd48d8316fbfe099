"""Borrowing somebody's network without leaving a trace."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator

from torch import nn
from torch.nn import Parameter


@dataclasses.dataclass
class _Held:
    """One module or parameter that was switched, and how many callers still need that."""

    switched: nn.Module | Parameter
    borrowers: int = 0


_lock = threading.Lock()
_held: dict[int, _Held] = {}
"""By ``id``, which stays unique because the entry keeps its object alive. Single modules and
parameters are counted, not networks: two borrowed networks may share some of them."""


@contextlib.contextmanager
def frozen(network: nn.Module) -> Iterator[nn.Module]:
    """Hold ``network`` in eval mode with gradients to its parameters switched off.

    The mode of every single module and the ``requires_grad`` flag of every single parameter come
    back to what they were when the last borrower leaves, also after an exception. Any number of
    threads may borrow the same network at once: the first one in freezes, the last one out
    restores. Nothing else is touched: no hooks, no ``.grad``, no weights.

    Frozen means three things in T-TAME: no gradient to the parameters, batch-norm statistics
    fixed and dropout off. Gradients still flow *through* the network to its input.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
        >>> with frozen(network):
        ...     network.training, network[0].weight.requires_grad
        (False, False)
        >>> network.training, network[0].weight.requires_grad
        (True, True)
    """
    borrowed = _borrow(network)
    try:
        yield network
    finally:
        _give_back(borrowed)


def _borrow(network: nn.Module) -> list[int]:
    borrowed = []
    with _lock:
        # Not .eval(): some networks override train() and would do more than set the flag.
        for module in network.modules():
            if module.training or id(module) in _held:
                module.training = False
                borrowed.append(_hold(module))
        for parameter in network.parameters():
            # Only leaves can be switched; anything else gets its flag from its inputs.
            if (parameter.requires_grad and parameter.is_leaf) or id(parameter) in _held:
                parameter.requires_grad_(False)
                borrowed.append(_hold(parameter))
    return borrowed


def _hold(switched: nn.Module | Parameter) -> int:
    held = _held.setdefault(id(switched), _Held(switched))
    held.borrowers += 1
    return id(switched)


def _give_back(borrowed: list[int]) -> None:
    with _lock:
        for key in borrowed:
            held = _held[key]
            held.borrowers -= 1
            if held.borrowers:
                continue
            del _held[key]
            if isinstance(held.switched, nn.Module):
                held.switched.training = True
            else:
                held.switched.requires_grad_(True)
