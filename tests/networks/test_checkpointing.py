"""Activations are kept where the network's code asks to compute them twice."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
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

    def __init__(self, overwrite: Callable[[Tensor], Tensor], *, mentions: bool = False) -> None:
        super().__init__()
        self.overwrite, self.mentions = overwrite, mentions

    def forward(self, values: Tensor) -> Tensor:
        return self.overwrite(values * 3)


class MayCheckpoint(Overwriting):
    """The same in a network whose code mentions checkpointing, for training."""

    def forward(self, values: Tensor) -> Tensor:
        if self.training:
            return checkpoint(super().forward, values)  # type: ignore[no-any-return]
        return super().forward(values)


def add(values: Tensor) -> Tensor:
    values += values**2
    return values


def multiply(values: Tensor) -> Tensor:
    values *= values**2
    return values


def by_name(values: Tensor) -> Tensor:
    return values.add_(values**2)


def part(values: Tensor) -> Tensor:
    squares = values**2
    values[:1] = 2 * squares[:1]
    return values + squares


def view(values: Tensor) -> Tensor:
    squares = values**2
    values[1:].mul_(squares[1:])
    return values + squares


def rectified(values: Tensor) -> Tensor:
    squares = values**2
    return squares + F.relu(values, inplace=True)


def out_of_place(overwrite: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """The same by hand, written without anything in place."""
    first = torch.tensor([1.0, 0.0], dtype=values.dtype)
    by_hand: dict[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]] = {
        add: lambda v: v + v**2,
        by_name: lambda v: v + v**2,
        multiply: lambda v: v**3,
        part: lambda v: first * 2 * v**2 + (1 - first) * v + v**2,
        view: lambda v: first * v + (1 - first) * v**3 + v**2,
        rectified: lambda v: v**2 + v.relu(),
    }
    return by_hand[overwrite](values * 3)


@pytest.mark.parametrize("kind", [Overwriting, MayCheckpoint])
@pytest.mark.parametrize("overwrite", [add, multiply, by_name, part, view, rectified])
def test_gradients_see_what_was_there_before_it_was_overwritten(
    overwrite: Callable[[Tensor], Tensor], kind: type[Overwriting]
) -> None:
    values = torch.tensor([0.7, -0.4], dtype=torch.float64, requires_grad=True)
    network = kind(overwrite).eval()
    with keeping_activations(network):
        output = network(values)
    (found,) = torch.autograd.grad(output.sum(), values)
    expected = out_of_place(overwrite, values)
    assert torch.allclose(output, expected)
    assert torch.allclose(found, torch.autograd.grad(expected.sum(), values)[0])
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(network(values).sum(), values)  # by itself, torch refuses


@pytest.mark.parametrize("kind", [Overwriting, MayCheckpoint])
def test_what_was_overwritten_unseen_is_not_taken_for_what_was_saved(
    kind: type[Overwriting],
) -> None:
    """The slope is 3 + 18 x; with the overwritten value it would silently be another one."""

    def unseen(values: Tensor) -> Tensor:
        squares = values**2
        with torch._C.DisableTorchFunction():
            values += squares
        return values

    values = torch.ones(2, requires_grad=True)
    network = kind(unseen).eval()
    with keeping_activations(network):
        output = network(values)
    with pytest.raises(ClassifierError, match=rf"{kind.__name__} overwrites values.*\(2,\)"):
        torch.autograd.grad(output.sum(), values)


def test_nothing_is_copied_where_nothing_is_overwritten() -> None:
    """Activations are kept as they are: the memory of a pass is what it was."""
    layer = nn.Linear(3, 3)
    values = torch.randn(2, 3, requires_grad=True)
    with keeping_activations(layer):
        hidden = torch.tanh(layer(values))
        hidden.relu_()
        (hidden * 1).relu_()
    assert hidden.grad_fn is not None
    saved = hidden.grad_fn._saved_result  # type: ignore[attr-defined]
    assert saved.data_ptr() == hidden.data_ptr()


def test_a_function_that_saves_its_output_goes_with_it() -> None:
    values = torch.randn(2, 3, requires_grad=True)
    with keeping_activations(nn.Identity()):
        output = values.softmax(dim=-1)
    gone = weakref.ref(output)
    del output
    assert gone() is None


def test_gradients_of_gradients_are_the_same() -> None:
    values = torch.randn(2, 3, requires_grad=True)

    def second() -> Tensor:
        (first,) = torch.autograd.grad((values.softmax(-1) ** 3).sum(), values, create_graph=True)
        return torch.autograd.grad((first**2).sum(), values)[0]

    with keeping_activations(nn.Identity()):
        found = second()
    assert torch.equal(found, second())


def test_hooks_end_with_the_block() -> None:
    with contextlib.suppress(ZeroDivisionError), keeping_activations(nn.Linear(1, 1)):
        raise ZeroDivisionError
    assert torch._C._autograd._top_saved_tensors_default_hooks(False) is None
