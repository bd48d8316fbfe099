"""Which layer is running: nested, shared, failing, and in other threads."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor, nn

from ttame.explainers.relevance.operation_calls import Layer
from ttame.explainers.relevance.running_layers import running_layers


class Noting(nn.Module):
    """Notes the running layer."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Layer | None] = []

    def forward(self, values: Tensor) -> Tensor:
        self.seen.append(self.ask())
        return values

    def ask(self) -> Layer | None:
        return None


class Surviving(nn.Module):
    """Goes on after a layer inside it has failed."""

    def __init__(self, noting: Noting) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)
        self.noting = noting

    def forward(self, values: Tensor) -> Tensor:
        with pytest.raises(RuntimeError):
            self.inner(values)
        return self.noting(values)  # type: ignore[no-any-return]


def test_the_innermost_layer_by_all_its_names() -> None:
    noting = Noting()
    network = nn.Sequential(nn.Sequential(noting, nn.ReLU()), noting)
    with running_layers(network) as running:
        noting.ask = running  # type: ignore[method-assign]
        assert running() is None
        network(torch.ones(2))
        assert running() is None
    assert [layer.names for layer in noting.seen if layer] == [("0.0", "1"), ("0.0", "1")]
    assert noting.seen[0] is not None
    assert noting.seen[0].module is noting
    assert all(not module._forward_hooks for module in network.modules())


def test_after_a_layer_that_failed_its_parent_is_left_properly() -> None:
    noting = Noting()
    network = nn.Sequential(Surviving(noting), noting)
    with running_layers(network) as running:
        noting.ask = running  # type: ignore[method-assign]
        network(torch.ones(2))
        assert running() is None
    assert [layer and layer.module for layer in noting.seen] == [noting, noting]


def test_another_thread_is_not_followed() -> None:
    noting = Noting()
    network = nn.Sequential(noting)
    with running_layers(network) as running:
        noting.ask = running  # type: ignore[method-assign]
        thread = threading.Thread(target=lambda: network(torch.ones(1)))
        thread.start()
        thread.join()
    assert noting.seen == [None]
