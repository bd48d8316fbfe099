"""What a network's own code switches off is recorded all the same."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ttame.classifiers.classifier import Classifier
from ttame.errors import ClassifierError
from ttame.explainers.known_explainers import make_explainer
from ttame.images.preprocessing import Preprocessing
from ttame.networks.recording_gradients import recording_gradients


class TwoBranches(nn.Module):
    """The sum of two branches, of which one is left alone in training."""

    def __init__(self, around: Callable[[], AbstractContextManager[Any]] = nullcontext) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU())
        self.left, self.right = nn.Conv2d(4, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 1, 1)
        self.fc, self.around = nn.Linear(4, 3), around

    def forward(self, images: Tensor) -> Tensor:
        stem = self.stem(images)
        left = self.left(stem).relu()
        with self.around():
            right = self.right(stem).relu()
        scores: Tensor = self.fc((left + right).mean(dim=(2, 3)))
        return scores


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode])
def test_a_branch_that_training_leaves_alone_counts(
    around: Callable[[], AbstractContextManager[Any]],
) -> None:
    """Without it, gradients would silently be those of the other branch."""
    off, on = TwoBranches(around), TwoBranches()
    on.load_state_dict(off.state_dict())
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for method in ("input_x_gradient", "grad_cam", "full_lrp"):
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


def test_inference_mode_is_still_what_the_network_sees() -> None:
    """And what is computed in it can be used as if it were not."""
    values = torch.ones(1, requires_grad=True)
    with recording_gradients():
        with torch.inference_mode():
            made = torch.zeros(1)
            made += 3 * values
            with torch.enable_grad():
                made = made * values
            assert torch.is_inference_mode_enabled()
        assert torch.is_grad_enabled()
        product = made * values
    assert torch.autograd.grad(product, values)[0].item() == 9
    with torch.no_grad(), recording_gradients(), torch.inference_mode():
        assert (2 * values).is_inference()  # nobody asked for gradients


class Doubled(torch.autograd.Function):
    """The newer way to write one: ``forward`` gets no context."""

    @staticmethod
    def forward(values: Tensor) -> Tensor:
        return values * 2

    @staticmethod
    def setup_context(_ctx: Any, inputs: Any, output: Any) -> None: ...

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * 2


@pytest.mark.parametrize("function", [SwitchesOn, Doubled])
def test_a_backward_pass_that_inference_mode_drops_is_refused(function: Any) -> None:
    """Torch would cut its result off, and gradients would be those of the rest."""
    values = torch.ones(1, requires_grad=True)
    with (
        recording_gradients(),
        torch.inference_mode(),
        pytest.raises(ClassifierError, match=rf"{function.__name__}.*torch\.inference_mode\(\)"),
    ):
        function.apply(values)
    assert not torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()
