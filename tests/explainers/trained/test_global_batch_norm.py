"""Batch norm of two processes with half a batch each against PyTorch's with the whole batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from tests.conftest import assert_close
from tests.training.training_material import in_two_processes
from ttame.explainers.trained.global_batch_norm import GlobalBatchNorm2d

DTYPES = {"float32": (torch.float32, 1e-5), "float64": (torch.float64, 1e-14)}


def batch(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Features with large means and small spreads, and weights for the sum of the outputs."""
    generator = torch.Generator().manual_seed(1)
    offsets = torch.tensor([0.0, 30.0, -100.0])[None, :, None, None]
    features = torch.randn(6, 3, 4, 5, generator=generator) * 0.5 + offsets
    return features.to(dtype), torch.randn(6, 3, 4, 5, generator=generator).to(dtype)


def affine(layer: nn.BatchNorm2d, dtype: torch.dtype) -> nn.BatchNorm2d:
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.5, 2.0, -1.0]))
        layer.bias.copy_(torch.tensor([1.0, 0.0, -3.0]))
        layer.running_mean.copy_(torch.tensor([0.3, 0.0, 0.0]))
    return layer.to(dtype)


def normalise(layer: nn.BatchNorm2d, features: Tensor, weights: Tensor) -> dict[str, Tensor]:
    features = features.clone().requires_grad_()
    output = layer(features)
    (output * weights).sum().backward()
    assert features.grad is not None
    assert layer.weight.grad is not None
    assert layer.bias.grad is not None
    return {
        "output": output.detach(),
        "gradient": features.grad,
        "weight gradient": layer.weight.grad,
        "bias gradient": layer.bias.grad,
        **buffers(layer),
    }


def normalise_half(name: str) -> list[dict[str, Any]]:
    dist.init_process_group("gloo")
    dtype = DTYPES[name][0]
    mine = slice(0, 3) if dist.get_rank() == 0 else slice(3, 6)
    features, weights = (tensor[mine] for tensor in batch(dtype))
    layer = affine(GlobalBatchNorm2d(3), dtype)
    trained = normalise(layer, features, weights)
    layer.zero_grad()
    # In eval mode there is nothing to exchange.
    tested = normalise(layer.eval(), features, weights)
    layer = affine(GlobalBatchNorm2d(3), dtype)
    at_places = {"output": layer(features, places()[mine]).detach(), **buffers(layer)}
    dist.destroy_process_group()
    # As lists: tensors would travel through shared memory that ends with this process.
    parts = (trained, tested, at_places)
    return [{key: value.tolist() for key, value in part.items()} for part in parts]


def buffers(layer: nn.Module) -> dict[str, Tensor]:
    return {f"after {name}": buffer for name, buffer in layer.named_buffers()}


@pytest.mark.parametrize("name", DTYPES)
def test_two_halves_are_normalised_as_the_whole(name: str) -> None:
    dtype, tolerance = DTYPES[name]
    features, weights = batch(dtype)
    layer = affine(nn.BatchNorm2d(3), dtype)
    trained = normalise(layer, features, weights)
    layer.zero_grad()
    tested = normalise(layer.eval(), features, weights)
    one_process = affine(GlobalBatchNorm2d(3), dtype)
    at_places = {"output": one_process(features, places()).detach(), **buffers(one_process)}
    halves = in_two_processes(normalise_half, name)
    for expected, first, second in zip((trained, tested, at_places), *halves, strict=True):
        for key, whole in expected.items():
            one, two = (torch.tensor(half[key], dtype=whole.dtype) for half in (first, second))
            if key in ("output", "gradient"):
                found = torch.cat([one, two])
            elif key.endswith("gradient"):
                found = one + two  # DistributedDataParallel adds them up.
            else:
                assert torch.equal(one, two)
                found = one
            assert_close(found.double(), whole.double(), tolerance)


def test_one_process_uses_the_layer_of_pytorch() -> None:
    features, weights = batch(torch.float32)
    found = normalise(affine(GlobalBatchNorm2d(3), torch.float32), features, weights)
    expected = normalise(affine(nn.BatchNorm2d(3), torch.float32), features, weights)
    for key, value in expected.items():
        assert torch.equal(found[key], value)


def places() -> Tensor:
    """(6, 1, 4, 5) bool, some of each picture, of one only the first."""
    some = torch.rand(6, 1, 4, 5, generator=torch.Generator().manual_seed(2)) < 0.5
    some[1] = False
    some[1, 0, 0, 0] = True
    return some


def test_statistics_are_those_of_the_places() -> None:
    """As if there were nothing else, whatever stands elsewhere; in eval mode they do not matter."""
    features, weights = batch(torch.float64)
    some = places()
    features = torch.where(some, features, 1e6)
    layer = affine(GlobalBatchNorm2d(3), torch.float64)
    plain = affine(nn.BatchNorm2d(3), torch.float64)
    one_row = [each.movedim(1, 0)[:, some[:, 0]][None, :, None] for each in (features, weights)]
    expected = normalise(plain, *one_row)
    given = features.clone().requires_grad_()
    found = layer(given, some)
    (found * weights * some).sum().backward()
    shown = found.detach().movedim(1, 0)[:, some[:, 0]]
    assert_close(shown, expected["output"][0, :, 0], 1e-12)
    assert given.grad is not None and layer.weight.grad is not None
    gradient = given.grad.movedim(1, 0)
    assert_close(gradient[:, some[:, 0]], expected["gradient"][0, :, 0], 1e-10)
    assert float(gradient[:, ~some[:, 0]].abs().max()) == 0
    assert_close(layer.weight.grad, expected["weight gradient"], 1e-10)
    assert layer.running_mean is not None and layer.running_var is not None
    assert_close(layer.running_mean, expected["after running_mean"], 1e-12)
    assert_close(layer.running_var, expected["after running_var"], 1e-12)
    assert torch.equal(layer.eval()(features, some), layer(features))
