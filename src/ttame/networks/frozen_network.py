"""Borrowing somebody's network without leaving a trace."""

from __future__ import annotations

import contextlib
import dataclasses

from torch import nn
from torch.nn import Parameter

from ttame.networks.loans import Lent, Loan, lock
from ttame.networks.module_walk import all_modules, all_parameters

CHECKPOINTING = ("grad_checkpointing", "gradient_checkpointing")
"""What timm and transformers call the flag of modules that compute activations twice."""


@dataclasses.dataclass(frozen=True)
class _Held:
    """One module or parameter that was switched, and who still needs that."""

    switched: nn.Module | Parameter
    flags: tuple[str, ...]
    borrowers: set[_Freezing] = dataclasses.field(default_factory=set)

    def restore(self) -> None:
        for flag in self.flags:
            setattr(self.switched, flag, True)


_held: dict[int, _Held] = {}
"""By ``id``, which stays unique because the entry keeps its object alive. Single modules and
parameters are held, not networks: two borrowed networks may share some of them. An entry is made
before its object is switched and deleted after it was switched back, and a set of borrowers, unlike
a count, is the same after a borrower was added or removed twice: an interruption costs nothing."""


def frozen(network: nn.Module) -> contextlib.AbstractContextManager[nn.Module]:
    """Hold ``network`` in eval mode with gradients to its parameters switched off.

    The mode of every single module and the ``requires_grad`` flag of every single parameter come
    back to what they were when the last borrower leaves, also after an exception or an interrupt
    by the user. Any number of threads may borrow the same network at once: the first one in
    freezes, the last one out restores. Nothing else is touched: no hooks, no ``.grad``, no weights.

    Frozen means three things in T-TAME: no gradient to the parameters, batch-norm statistics
    fixed and dropout off. Gradients still flow *through* the network to its input. Activation
    checkpointing is held off where a module has a flag for it: without gradients to parameters it
    saves little, and it would run layers a second time, behind everybody's back.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
        >>> with frozen(network):
        ...     network.training, network[0].weight.requires_grad
        (False, False)
        >>> network.training, network[0].weight.requires_grad
        (True, True)
    """
    return Lent(_Freezing(network))


class _Freezing(Loan[nn.Module]):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def begin(self) -> nn.Module:
        with lock:
            # Not .eval(): some networks override train() and would do more than set the flag.
            for module in all_modules(self.network):
                flags = _flags_that_are_on(module)
                if flags or id(module) in _held:
                    self._hold(module, flags)
                    for flag in flags:
                        setattr(module, flag, False)
            for parameter in all_parameters(self.network):
                # Only leaves can be switched; anything else gets its flag from its inputs.
                if (parameter.requires_grad and parameter.is_leaf) or id(parameter) in _held:
                    self._hold(parameter, ("requires_grad",))
                    parameter.requires_grad_(False)
        return self.network

    def _hold(self, switched: nn.Module | Parameter, flags: tuple[str, ...]) -> None:
        held = _hold(switched, flags)
        held.borrowers.add(self)
        # Between these steps, a loan that is collected may have found an entry without borrowers.
        _held[id(switched)] = held

    def undo(self) -> None:
        with lock:
            for key, held in _held.copy().items():
                # Also one that nobody has, whose borrowing was interrupted.
                if not held.borrowers - {self}:
                    held.restore()
                    _held.pop(key, None)
                held.borrowers.discard(self)


def _hold(switched: nn.Module | Parameter, flags: tuple[str, ...]) -> _Held:
    return _held.setdefault(id(switched), _Held(switched, flags))


def _flags_that_are_on(module: nn.Module) -> tuple[str, ...]:
    attributes = vars(module)
    return tuple(flag for flag in ("training", *CHECKPOINTING) if attributes.get(flag) is True)
