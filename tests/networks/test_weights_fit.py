"""Prefixes go only where all names then fit; class counts differ only in the last layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from tests.classifiers.small_networks import small_cnn
from ttame.networks.weights_fit import other_class_count, without_prefixes


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module._orig_mod.model."])
def test_prefixes_are_taken_away(prefix: str) -> None:
    network = small_cnn()
    own = network.state_dict()
    found = without_prefixes({prefix + name: value for name, value in own.items()}, network)
    assert found.keys() == own.keys()
    assert all(torch.equal(found[name], own[name]) for name in own)


def test_averaged_weights_fit_their_network() -> None:
    network = small_cnn()
    found = without_prefixes(AveragedModel(network).state_dict(), network)
    assert found.keys() == network.state_dict().keys()


def test_a_prefix_that_does_not_help_stays() -> None:
    network = small_cnn()
    weights = {f"module.{name}": value for name, value in network.state_dict().items()}
    del weights["module.0.weight"]
    assert without_prefixes(weights, network) == weights
    weights["criterion.weight"] = torch.ones(1)
    assert without_prefixes(weights, network) == weights


def test_what_stands_beside_the_whole_network_is_left_out() -> None:
    """As the weights of a loss in what Lightning saves."""
    network = small_cnn()
    weights = {f"net.{name}": value for name, value in network.state_dict().items()}
    beside = {**weights, "criterion.weight": torch.ones(1), "teacher.0.weight": torch.ones(2)}
    assert without_prefixes(beside, network).keys() == network.state_dict().keys()
    beside = {f"module.{name}": value for name, value in beside.items()}
    assert without_prefixes(beside, network).keys() == network.state_dict().keys()
    more = {**weights, "net.unknown": torch.ones(1)}
    assert without_prefixes(more, network) == more


def test_a_network_whose_own_names_begin_so_is_left_alone() -> None:
    network = nn.ModuleDict({"model": nn.Linear(3, 2)})
    assert set(without_prefixes(network.state_dict(), network)) == {"model.weight", "model.bias"}


def test_class_counts() -> None:
    assert other_class_count(small_cnn(7).state_dict(), small_cnn(5)) == (5, 7)
    assert other_class_count(small_cnn(5).state_dict(), small_cnn(5)) is None
    wider = {**small_cnn(7).state_dict(), "0.weight": torch.zeros(9, 3, 3, 3)}
    assert other_class_count(wider, small_cnn(5)) is None
    other = {**small_cnn(5).state_dict(), "8.weight": torch.zeros(5, 17)}
    assert other_class_count(other, small_cnn(5)) is None
