"""The published optimiser and schedule."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tests.training.training_material import quick
from ttame.explainers.trained.attention_head import AttentionHead
from ttame.training.optimisation import make_optimiser, make_schedule


def test_biases_have_a_rate_of_their_own_and_no_decay() -> None:
    head = AttentionHead([4, 6], 3)
    settings = quick("tame", learning_rate=0.01)
    optimiser = make_optimiser(head, settings.optimiser)
    weights, biases = optimiser.param_groups
    names = {id(parameter): name for name, parameter in head.named_parameters()}
    assert {names[id(p)] for p in weights["params"]} == {
        "branches.0.convolution.weight",
        "branches.0.batch_norm.weight",  # decayed, as published
        "branches.1.convolution.weight",
        "branches.1.batch_norm.weight",
        "fusion.weight",
    }
    assert {names[id(p)] for p in biases["params"]} == {
        "branches.0.convolution.bias",
        "branches.0.batch_norm.bias",
        "branches.1.convolution.bias",
        "branches.1.batch_norm.bias",
        "fusion.bias",
    }
    assert (weights["weight_decay"], biases["weight_decay"]) == (5e-4, 0)
    assert weights["nesterov"]
    assert biases["nesterov"]
    assert (weights["lr"], biases["lr"]) == (0.01, 0.02)


def cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_the_schedule_is_the_closed_form(factor: float) -> None:
    steps, peak = 50, 0.01
    settings = quick(learning_rate=peak, bias_learning_rate_factor=factor)
    optimiser = make_optimiser(nn.Conv2d(1, 1, 1), settings.optimiser)
    schedule = make_schedule(optimiser, settings.optimiser, steps)
    rates, momenta = [], []
    for _ in range(steps):
        weights, biases = optimiser.param_groups
        assert biases["lr"] == pytest.approx(factor * weights["lr"])
        rates.append(weights["lr"])
        momenta.append(weights["momentum"])
        optimiser.step()
        schedule.step()

    top = 0.3 * steps - 1  # counted from step 0
    expected, expected_momenta = [], []
    for step in range(steps):
        if step <= top:
            expected.append(cosine(peak / 25, peak, step / top))
            expected_momenta.append(cosine(0.95, 0.85, step / top))
        else:
            share = (step - top) / (steps - 1 - top)
            expected.append(cosine(peak, peak / 25 / 1e4, share))
            expected_momenta.append(cosine(0.85, 0.95, share))
    assert rates == pytest.approx(expected, rel=1e-9)
    assert momenta == pytest.approx(expected_momenta, rel=1e-9)
    assert rates[0] == pytest.approx(peak / 25)
    assert rates[14] == pytest.approx(peak)
    assert rates[-1] == pytest.approx(peak / 250_000)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7])
def test_short_runs_have_a_schedule_too(steps: int) -> None:
    settings = quick(learning_rate=1.0)
    optimiser = make_optimiser(nn.Conv2d(1, 1, 1), settings.optimiser)
    schedule = make_schedule(optimiser, settings.optimiser, steps)
    for _ in range(steps):
        assert 0 < optimiser.param_groups[0]["lr"] <= 1
        optimiser.step()
        schedule.step()


def test_adamw_decays_the_same_weights_and_keeps_its_momentum() -> None:
    settings = quick(
        optimiser="adamw", learning_rate=0.01, weight_decay=0.3, bias_learning_rate_factor=2.0
    )
    head = AttentionHead([4, 6], 3)
    optimiser = make_optimiser(head, settings.optimiser)
    assert isinstance(optimiser, torch.optim.AdamW)
    weights, biases = optimiser.param_groups
    assert len(weights["params"]) == len(biases["params"]) == 5
    assert (weights["weight_decay"], biases["weight_decay"]) == (0.3, 0)
    published = make_optimiser(head, quick().optimiser).param_groups
    for group, same in zip((weights, biases), published, strict=True):
        assert [id(p) for p in group["params"]] == [id(p) for p in same["params"]]
    schedule = make_schedule(optimiser, settings.optimiser, 10)
    rates = []
    for _ in range(10):
        rates.append(weights["lr"])
        assert biases["lr"] == pytest.approx(2 * weights["lr"])
        assert weights["betas"] == biases["betas"] == (0.9, 0.999)
        optimiser.step()
        schedule.step()
    assert rates[0] == pytest.approx(0.01 / 25)
    assert max(rates) == pytest.approx(0.01)
    assert rates[-1] == pytest.approx(0.01 / 250_000)


def test_a_step_of_adamw_worked_out_by_hand() -> None:
    layer = nn.Linear(1, 1)
    nn.init.constant_(layer.weight, 2.0)
    nn.init.constant_(layer.bias, 2.0)
    settings = quick(optimiser="adamw", learning_rate=0.1, weight_decay=0.5)
    optimiser = make_optimiser(layer, settings.optimiser)
    layer.weight.grad = torch.tensor([[3.0]])
    layer.bias.grad = torch.tensor([-3.0])
    optimiser.step()
    # decay 2 - .1*.5*2 = 1.9, then a first step of the rate against the gradient's sign
    assert layer.weight.item() == pytest.approx(1.8)
    assert layer.bias.item() == pytest.approx(2.1)


def test_a_step_of_nesterov_momentum_worked_out_by_hand() -> None:
    layer = nn.Linear(1, 1)
    nn.init.constant_(layer.weight, 2.0)
    nn.init.constant_(layer.bias, 2.0)
    optimiser = make_optimiser(layer, quick(learning_rate=0.1, weight_decay=0.5).optimiser)
    layer.weight.grad = torch.tensor([[1.0]])
    layer.bias.grad = torch.tensor([1.0])
    optimiser.step()
    # gradient g = 1 + .5·2 = 2, buffer = g, step .1·(g + .9·buffer) = .38; bias: g = 1, .19
    assert layer.weight.item() == pytest.approx(1.62)
    assert layer.bias.item() == pytest.approx(1.81)
