"""A folded copy computes the same, is smaller, and leaves the network alone."""

from __future__ import annotations

import copy
import threading

import pytest
import torch
from torch import Tensor, nn

from tests.tiny_networks import TINY
from ttame.classifiers.classifier import Classifier
from ttame.images.preprocessing import Preprocessing
from ttame.networks.batch_norm_folding import folded

SIZE = (32, 32)


def drawn(network: nn.Module) -> nn.Module:
    """Statistics and scales as if trained, so that a norm left out would be noticed."""
    generator = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.running_var, module.weight, module.bias):
                if tensor is not None:
                    with torch.no_grad():
                        tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return network.eval()


def small(*, bias: bool = False) -> nn.Sequential:
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1, bias=bias),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, 2, 1, groups=2, bias=bias),
        nn.BatchNorm2d(8, affine=False),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )
    drawn(network)
    return network


def images(count: int = 3) -> Tensor:
    return torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_with_its_norm_is_a_convolution(bias: bool) -> None:
    network = small(bias=bias)
    copied = folded(network, SIZE)
    assert copied is not None
    assert norms(copied) == 0
    assert norms(network) == 2
    torch.testing.assert_close(copied(images()), network(images()))


@pytest.mark.parametrize("name", sorted(TINY))
def test_logits_of_every_kind_of_network(name: str) -> None:
    classifier = TINY[name]()
    drawn(classifier.network)
    quick = classifier.for_many_passes()
    batch = torch.randn(2, 3, *classifier.preprocessing.input_size)
    expected, found = classifier.logits(batch), quick.logits(batch)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    if not norms(classifier.network):
        assert quick is classifier


def test_timm_norms_with_an_activation_inside() -> None:
    import timm

    network = drawn(timm.create_model("efficientnet_lite0", num_classes=7))
    copied = folded(network, (64, 64))
    assert copied is not None
    assert norms(copied) == 0
    batch = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(copied(batch), network(batch), rtol=1e-3, atol=1e-3)


def test_the_network_is_left_as_it_was() -> None:
    network = small()
    network.train()
    before = copy.deepcopy(network.state_dict())
    copied = folded(network, SIZE)
    assert copied is not None
    assert all(module.training for module in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert not any(parameter.requires_grad for parameter in copied.parameters())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_weights_that_are_not_folded_are_shared() -> None:
    network = small()
    copied = folded(network, SIZE)
    assert isinstance(copied, nn.Sequential)
    assert copied[-1].weight.data_ptr() == network[-1].weight.data_ptr()


class ReadsTwice(nn.Module):
    """Its convolution is read once through the norm and once without it."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 5)

    def forward(self, batch: Tensor) -> Tensor:
        features = self.convolution(batch)
        return self.head((self.norm(features) * features).mean(dim=(2, 3)))  # type: ignore[no-any-return]


class SharedConvolution(nn.Module):
    """One convolution before two norms."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)
        self.first, self.second, self.head = nn.BatchNorm2d(3), nn.BatchNorm2d(3), nn.Linear(3, 5)

    def forward(self, batch: Tensor) -> Tensor:
        once = self.first(self.convolution(batch)).relu()
        return self.head(self.second(self.convolution(once)).mean(dim=(2, 3)))  # type: ignore[no-any-return]


class CannotBeCopied(nn.Module):
    """It holds a lock."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.lock = small(), threading.Lock()

    def forward(self, batch: Tensor) -> Tensor:
        return self.layers(batch)  # type: ignore[no-any-return]


def weight_normed() -> nn.Module:
    network = small()
    for index in (0, 3):
        nn.utils.parametrizations.weight_norm(network[index])
    return network


def without_statistics() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    ).eval()


@pytest.mark.parametrize(
    "make",
    [ReadsTwice, SharedConvolution, CannotBeCopied, weight_normed, without_statistics],
    ids=lambda make: make.__name__,
)
def test_what_cannot_be_folded_runs_as_it_is(make: type[nn.Module]) -> None:
    network = drawn(make())
    assert folded(network, SIZE) is None
    classifier = Classifier(network, preprocessing=Preprocessing.imagenet(32), taps=[last(network)])
    assert classifier.for_many_passes() is classifier


def last(network: nn.Module) -> str:
    return [name for name, part in network.named_modules() if isinstance(part, nn.Conv2d)][-1]


def test_half_precision_runs_as_it_is() -> None:
    assert folded(small().to(torch.bfloat16), SIZE) is None
