from __future__ import annotations

import copy
import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.conftest import assert_close
from ttame.explainers.passes.widening import as_float32, in_float32, widening

WEIGHT = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))

MIXED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "linear": F.linear,
    "linear by name": lambda values, weight: F.linear(input=values, weight=weight),
    "matrix product": lambda values, weight: values @ weight,
    "einsum": lambda values, weight: torch.einsum("ij,jk->ik", values, weight),
    "addmm": lambda values, weight: torch.addmm(weight[0], values, weight),
    "layer norm": lambda values, weight: F.layer_norm(values, (4,), weight[0], weight[1]),
    "attention": lambda values, weight: F.scaled_dot_product_attention(
        values[None], weight[None], weight[None]
    ),
    "joined": lambda values, weight: torch.cat([values, weight]),
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("operation", MIXED)
def test_mixed_operations_run_in_float32(operation: str, dtype: torch.dtype) -> None:
    values, weight = torch.randn(3, 4), WEIGHT.to(dtype)
    with widening():
        found = MIXED[operation](values, weight)
    assert found.dtype == torch.float32
    assert_close(found, MIXED[operation](values, weight.float()), 1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_everything_else_runs_as_usual(dtype: torch.dtype) -> None:
    values, weight = torch.randn(3, 4).to(dtype), WEIGHT.to(dtype)
    expected = F.linear(values, weight)
    with widening():
        found = F.linear(values, weight)
    assert torch.equal(found, expected)
    assert found.dtype == dtype


def test_what_is_overwritten_keeps_its_place_and_type() -> None:
    half, wide = torch.zeros(4).bfloat16(), torch.ones(4)
    with widening():
        half.add_(wide)
        half[1:] = wide[1:] * 2
        half += wide
    assert half.dtype == torch.bfloat16
    assert half.tolist() == [2, 3, 3, 3]


def test_a_network_is_widened_from_a_layer_on_and_left_as_it_was() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.GELU(), nn.Linear(4, 2))
    network.bfloat16()
    hook = network[0].register_forward_hook(lambda _module, _args, output: output.float())
    values = torch.randn(3, 4).bfloat16()
    with widening():
        found = network(values)
    hook.remove()
    body = network[0](values).float()
    assert torch.equal(found, network[1:].float()(body))
    with pytest.raises(RuntimeError):
        F.linear(torch.randn(1, 4), WEIGHT.bfloat16())


def test_other_threads_are_left_alone() -> None:
    problems: list[Exception] = []

    def mixed() -> None:
        try:
            F.linear(torch.randn(1, 4), WEIGHT.bfloat16())
        except RuntimeError as problem:
            problems.append(problem)

    with widening():
        thread = threading.Thread(target=mixed)
        thread.start()
        thread.join()
    assert problems


def test_tensors_are_found_in_containers() -> None:
    half, whole = torch.ones(1).half(), torch.ones(1, dtype=torch.int64)
    found = as_float32({"pair": (half, [half]), "whole": whole, "nothing": None})
    assert found["pair"][0].dtype == found["pair"][1][0].dtype == torch.float32
    assert found["whole"] is whole
    assert found["nothing"] is None


def test_a_network_computes_in_float32_from_its_input_on() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.LayerNorm(3)).bfloat16()
    given = torch.randn(2, 3).bfloat16()
    with in_float32(network, torch.bfloat16):
        found = network(given)
    assert found.dtype == torch.float32
    assert torch.equal(found, copy.deepcopy(network).float()(given.float()))
    assert network(given).dtype == network[0].weight.dtype == torch.bfloat16
    with in_float32(network, torch.float64):
        assert network(given).dtype == torch.bfloat16
