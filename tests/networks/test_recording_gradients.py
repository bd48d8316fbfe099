"""What a network's own code switches off is recorded all the same."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ttame.classifiers.classifier import Classifier
from ttame.explainers.known_explainers import make_explainer
from ttame.images.preprocessing import Preprocessing
from ttame.networks.recording_gradients import recording_gradients


class TwoBranches(nn.Module):
    """The sum of two branches, of which one is left alone in training."""

    def __init__(self, switched_off: bool) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU())
        self.left, self.right = nn.Conv2d(4, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 1, 1)
        self.fc, self.switched_off = nn.Linear(4, 3), switched_off

    def forward(self, images: Tensor) -> Tensor:
        stem = self.stem(images)
        left = self.left(stem).relu()
        with torch.set_grad_enabled(not self.switched_off and torch.is_grad_enabled()):
            right = self.right(stem).relu()
        scores: Tensor = self.fc((left + right).mean(dim=(2, 3)))
        return scores


def test_a_branch_that_training_leaves_alone_counts() -> None:
    """Without it, gradients would silently be those of the other branch."""
    off, on = TwoBranches(True), TwoBranches(False)
    on.load_state_dict(off.state_dict())
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for method in ("input_x_gradient", "grad_cam"):
        found, expected = (
            make_explainer(
                method,
                Classifier(network, preprocessing=Preprocessing.imagenet(16), taps=["stem"]),
                **({"rectified": False} if method == "grad_cam" else {}),
            )(images, 1).maps
            for network in (off, on)
        )
        assert torch.equal(found, expected)
    assert torch.is_grad_enabled()
    with torch.no_grad():
        assert not off(images).requires_grad


class SwitchesOn(torch.autograd.Function):
    """Runs without recording, as all such functions do, and switches it on for a while."""

    seen: tuple[bool, ...] = ()

    @staticmethod
    def forward(_ctx: Any, values: Tensor) -> Tensor:
        before = torch.is_grad_enabled()
        with torch.enable_grad():
            during = torch.is_grad_enabled()
        SwitchesOn.seen = (before, during, torch.is_grad_enabled())
        return values * 2

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * 2


def test_what_was_switched_on_is_switched_off_again() -> None:
    values = torch.ones(1, requires_grad=True)
    with recording_gradients():
        SwitchesOn.apply(values)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            assert torch.is_grad_enabled()
        assert torch.is_grad_enabled()
    assert SwitchesOn.seen == (False, True, False)


def test_where_recording_is_off_it_stays_off() -> None:
    values = torch.ones(1, requires_grad=True)
    with torch.no_grad(), recording_gradients():
        assert not (2 * values).requires_grad
