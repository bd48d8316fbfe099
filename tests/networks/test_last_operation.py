from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.classifiers.small_networks import Answering
from ttame.networks.last_operation import last_operation


@pytest.mark.parametrize(
    ("wrap", "found"),
    [
        (lambda logits: logits, "Addmm"),
        (torch.sigmoid, "Sigmoid"),
        (lambda logits: torch.sigmoid(logits)[:, :3].clone(), "Sigmoid"),
        (lambda logits: logits.softmax(dim=1).double(), "Softmax"),
        (lambda logits: torch.sigmoid(logits) * 10, "Mul"),
        (lambda logits: logits.detach().sigmoid(), ""),
    ],
)
def test_the_last_operation_is_seen_through_moves(wrap: object, found: str) -> None:
    network = Answering(wrap)
    assert last_operation(network, (32, 32)) == found
    assert all(parameter.grad is None for parameter in network.parameters())
    assert network.training


def test_gradients_switched_off_around_it_do_not_matter() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 3), nn.Sigmoid())
    with torch.inference_mode():
        assert last_operation(network, (2, 2)) == "Sigmoid"


def test_a_network_that_cannot_differentiate_has_none() -> None:
    class Failing(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            if images.requires_grad:
                raise RuntimeError("no")
            return images.mean((2, 3))

    assert last_operation(Failing(), (2, 2)) == ""
