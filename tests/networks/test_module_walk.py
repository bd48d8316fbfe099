"""The quick walk finds what torch's own finds, in its order."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.tiny_networks import TINY
from ttame.networks.module_walk import all_modules, all_parameters


def shared() -> nn.Module:
    """Layers and weights that occur twice, an empty place, a module inside itself."""
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    network = nn.Sequential(first, nn.Sequential(second, first), nn.ReLU())
    network.register_module("none", None)
    network.register_parameter("nothing", None)
    network.own = nn.Parameter(torch.zeros(1))
    network[1].around = network
    return network


def compiled_for_c() -> nn.Module:
    return torch.jit.trace(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), torch.zeros(1, 2))  # type: ignore[no-any-return]


NETWORKS = {
    "shared": shared,
    "transformers": lambda: TINY["transformers vit"]().network,
    "swin": lambda: TINY["timm swin"]().network,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_what_torch_finds_in_its_order(name: str) -> None:
    network = NETWORKS[name]()
    found, expected = all_modules(network), list(network.modules())
    assert len(found) == len(expected) and all(map(lambda a, b: a is b, found, expected))
    parameters, expected_parameters = all_parameters(network), list(network.parameters())
    assert len(parameters) == len(expected_parameters) > 2
    assert all(map(lambda a, b: a is b, parameters, expected_parameters))


@pytest.mark.filterwarnings("ignore::FutureWarning")  # It is deprecated; people still have it.
def test_networks_of_torchscript() -> None:
    network = compiled_for_c()
    assert len(all_modules(network)) == len(list(network.modules())) == 3
    assert [p.shape for p in all_parameters(network)] == [p.shape for p in network.parameters()]
