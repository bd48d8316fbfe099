"""Borrowing somebody's network without leaving a trace."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import weakref
from collections.abc import Iterator

from torch import nn
from torch.nn import Parameter


@dataclasses.dataclass
class _Borrowing:
    """What was changed on a network, and how many callers still need the change."""

    training_modules: list[nn.Module]
    trainable_parameters: list[Parameter]
    borrowers: int = 0


_lock = threading.Lock()
_borrowings: weakref.WeakKeyDictionary[nn.Module, _Borrowing] = weakref.WeakKeyDictionary()


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
    _borrow(network)
    try:
        yield network
    finally:
        _give_back(network)


def _borrow(network: nn.Module) -> None:
    with _lock:
        borrowing = _borrowings.get(network)
        if borrowing is None:
            borrowing = _Borrowing(
                training_modules=[module for module in network.modules() if module.training],
                # Only leaves can be switched; anything else gets its flag from its inputs.
                trainable_parameters=[
                    parameter
                    for parameter in network.parameters()
                    if parameter.requires_grad and parameter.is_leaf
                ],
            )
            _borrowings[network] = borrowing
            # Not .eval(): some networks override train() and would do more than set the flag.
            for module in borrowing.training_modules:
                module.training = False
            for parameter in borrowing.trainable_parameters:
                parameter.requires_grad_(False)
        borrowing.borrowers += 1


def _give_back(network: nn.Module) -> None:
    with _lock:
        borrowing = _borrowings[network]
        borrowing.borrowers -= 1
        if borrowing.borrowers:
            return
        del _borrowings[network]
        for module in borrowing.training_modules:
            module.training = True
        for parameter in borrowing.trainable_parameters:
            parameter.requires_grad_(True)
