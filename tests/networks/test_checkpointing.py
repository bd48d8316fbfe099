"""Activations are kept where the network's code asks to compute them twice."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ttame.errors import ClassifierError
from ttame.networks.checkpointing import keeping_activations


class Counting(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.layer, self.reentrant, self.runs = nn.Linear(3, 3), reentrant, 0

    def body(self, values: Tensor) -> Tensor:
        self.runs += 1
        return torch.tanh(self.layer(values)) ** 2  # type: ignore[no-any-return]

    def forward(self, values: Tensor) -> Tensor:
        return checkpoint(self.body, values, use_reentrant=self.reentrant)  # type: ignore[no-any-return]


def test_nothing_runs_twice_and_gradients_are_the_same() -> None:
    network, values = Counting(reentrant=False), torch.randn(2, 3, requires_grad=True)
    with keeping_activations(network):
        output = network(values)
    (found,) = torch.autograd.grad(output.sum(), values)
    assert network.runs == 1
    (expected,) = torch.autograd.grad(network.body(values).sum(), values)
    assert torch.equal(found, expected)
    torch.autograd.grad(network(values).sum(), values)
    assert network.runs == 4  # afterwards checkpointing is what it was


@pytest.mark.filterwarnings("ignore:None of the inputs")
def test_reentrant_checkpointing_is_named_where_gradients_are_wanted() -> None:
    network, values = Counting(reentrant=True), torch.randn(2, 3, requires_grad=True)
    with keeping_activations(network), pytest.raises(ClassifierError, match="use_reentrant=True"):
        network(values)
    with torch.no_grad(), keeping_activations(network):
        network(values)


class Overwriting(nn.Module):
    """A residual connection that overwrites what its square needs; in a branch, checkpointing."""

    def forward(self, values: Tensor) -> Tensor:
        if self.training:
            return checkpoint(torch.square, values)  # type: ignore[no-any-return]
        kept = values * 3
        kept += kept**2
        return kept


def test_what_was_overwritten_is_not_taken_for_what_was_saved() -> None:
    """The slope is 3 + 18 x; with the overwritten value it would silently be another one."""
    values = torch.ones(2, requires_grad=True)
    with keeping_activations(Overwriting().eval()):
        output = Overwriting().eval()(values)
    with pytest.raises(ClassifierError, match=r"Overwriting overwrites values.*\(2,\)"):
        torch.autograd.grad(output.sum(), values)
