"""All modules and parameters of a network, without their names: what every pass looks through."""

from __future__ import annotations

from torch import nn
from torch.nn import Parameter


def all_modules(network: nn.Module) -> list[nn.Module]:
    """The modules of ``network.modules()``, in its order, in a tenth of the time.

    ``nn.Module.modules`` spells the dotted name of every module, through one generator for each
    level. Every pass asks several times, so that it took most of a small network's time.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> all_modules(nn.Sequential(layer, nn.ReLU(), layer))[1:]
        [Linear(in_features=2, out_features=2, bias=True), ReLU()]
    """
    found: dict[nn.Module, None] = {}
    _add_modules(network, found)
    return list(found)


def _add_modules(module: nn.Module, found: dict[nn.Module, None]) -> None:
    found[module] = None
    for inner in module._modules.values():
        if inner is not None and inner not in found:
            _add_modules(inner, found)


def all_parameters(network: nn.Module) -> list[Parameter]:
    """The parameters of ``network.parameters()``, in its order, in a fraction of the time.

    Example:
        >>> [tuple(parameter.shape) for parameter in all_parameters(nn.Linear(3, 2))]
        [(2, 3), (2,)]
    """
    found = {
        id(parameter): parameter
        for module in all_modules(network)
        for parameter in module._parameters.values()
        if parameter is not None
    }
    return list(found.values())
