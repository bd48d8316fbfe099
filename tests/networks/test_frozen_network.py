from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from tests.classifiers.small_networks import small_cnn
from ttame.networks.frozen_network import frozen


def state_of(network: nn.Module) -> tuple[list[bool], list[bool]]:
    return (
        [module.training for module in network.modules()],
        [parameter.requires_grad for parameter in network.parameters()],
    )


def partly_frozen_cnn() -> nn.Sequential:
    network = small_cnn().train()
    network[1].eval()
    network[0].weight.requires_grad_(False)
    return network


def test_every_single_mode_and_flag_comes_back() -> None:
    network = partly_frozen_cnn()
    before = state_of(network)
    with frozen(network):
        modes, flags = state_of(network)
        assert not any(modes)
        assert not any(flags)
    assert state_of(network) == before
    assert any(before[0])
    assert not all(before[0])


def test_everything_comes_back_after_an_exception() -> None:
    network = partly_frozen_cnn()
    before = state_of(network)
    with pytest.raises(KeyError), frozen(network):
        raise KeyError
    assert state_of(network) == before


def test_batch_norm_statistics_stand_still() -> None:
    network = small_cnn().train()
    mean = network[1].running_mean.clone()
    with frozen(network):
        network(torch.randn(2, 3, 32, 32))
    assert torch.equal(network[1].running_mean, mean)


def test_gradients_flow_through_to_the_input_only() -> None:
    network = small_cnn().train()
    images = torch.randn(1, 3, 32, 32, requires_grad=True)
    with frozen(network):
        network(images).sum().backward()
    assert images.grad is not None
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_last_borrower_restores() -> None:
    network = small_cnn().train()
    with frozen(network):
        with frozen(network):
            pass
        assert not network.training
    assert network.training


def test_networks_that_share_a_part_do_not_release_it_early() -> None:
    part = small_cnn().train()
    whole = nn.Sequential(part, nn.ReLU())
    entered, leave = threading.Event(), threading.Event()

    def borrow_the_part() -> None:
        with frozen(part):
            entered.set()
            leave.wait(5)

    # The part is borrowed inside another loan, and given back after it.
    with frozen(whole):
        thread = threading.Thread(target=borrow_the_part)
        thread.start()
        entered.wait(5)
    assert not part.training
    assert not part[0].weight.requires_grad
    assert whole.training
    leave.set()
    thread.join()
    assert part.training
    assert part[0].weight.requires_grad


def test_an_overridden_train_method_is_not_called() -> None:
    class Stubborn(nn.Linear):
        def train(self, mode: bool = True) -> Stubborn:
            raise AssertionError("train() was called")

    network = Stubborn(2, 2)
    with frozen(network):
        assert not network.training
    assert network.training
