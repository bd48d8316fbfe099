"""A network's own exception: said once, with its place, and with a remedy that was tried."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from ttame.errors import ClassifierError
from ttame.networks.network_failure import NetworkFailedError
from ttame.networks.network_trace import run_network, trace_network


def ending(first: nn.Module) -> nn.Module:
    return nn.Sequential(first, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


class WithAge(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = ending(nn.Conv2d(3, 8, 3, 2, 1))

    def forward(self, images: Tensor, age: Tensor) -> Tensor:
        return self.body(images) + age


class Keeping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = ending(nn.Conv2d(3, 8, 3))

    def forward(self, images: Tensor) -> Tensor:
        raise ValueError("\nnot today.\nreally")


@pytest.mark.parametrize(
    ("network", "said", "remedy"),
    [
        (
            ending(nn.Conv2d(1, 8, 3)),
            r"layer 0 \(Conv2d\), which was given \(1, 3, 64, 64\)",
            "channels=1,",
        ),
        (ending(nn.Conv2d(13, 8, 3)), r"layer 0 \(Conv2d\)", "channels=13,"),
        (nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4)), r"layer 1 \(Linear\)", "size 32,"),
        (WithAge(), "TypeError: .*age", "forward\\(images\\) fills in"),
        (Keeping(), "Keeping failed on images of shape .*: ValueError: not today$", "^$"),
    ],
)
def test_remedies_are_those_that_help(network: nn.Module, said: str, remedy: str) -> None:
    with pytest.raises(NetworkFailedError, match=said.removesuffix("$")) as caught:
        trace_network(network, (64, 64))
    assert re.search(said, caught.value.problem)
    assert re.search(remedy, caught.value.remedy)
    assert "\n" not in str(caught.value)


def test_the_remedy_for_channels_helps() -> None:
    grey = ending(nn.Conv2d(1, 8, 3))

    class Grey(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mean(dim=1, keepdim=True)

    assert trace_network(nn.Sequential(Grey(), grey), (64, 64)).number_of_outputs == 4


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_one_number_per_image_is_a_column(shape: tuple[int, ...]) -> None:
    class One(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mean((1, 2, 3)).reshape(shape)

    images = torch.rand(3, 3, 4, 4)
    assert torch.equal(run_network(One(), images), images.mean((1, 2, 3))[:, None])


def test_squeezing_may_take_the_batch_too() -> None:
    class Squeezed(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mean((1, 2, 3)).squeeze()

    assert run_network(Squeezed(), torch.rand(1, 3, 4, 4)).shape == (1, 1)


def test_lazy_layers_are_named() -> None:
    with pytest.raises(ClassifierError, match="lazy layers"):
        trace_network(nn.Sequential(nn.LazyConv2d(8, 3)), (8, 8))
