"""Captum's calls without Captum: closed forms, the network as found, users' mistakes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.conftest import assert_close
from tests.explainers.test_every_explainer import assert_unchanged, state_of
from tests.tiny_networks import tiny_cnn
from ttame.compat import captum
from ttame.errors import ExplainerError, ImageError, TapError

IMAGES = torch.randn(2, 3, 8, 10, generator=torch.Generator().manual_seed(0))


def linear(outputs: int = 4) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(240, outputs)).eval()


def test_on_a_linear_network_attributions_are_weights_times_distance() -> None:
    network = linear()
    weights = network[1].weight.detach()[[1, 3]].reshape(2, 3, 8, 10)  # type: ignore[union-attr, index]
    signed = captum.Saliency(network).attribute(IMAGES, target=[1, 3], abs=False)
    assert_close(signed, weights, 1e-6)
    assert_close(captum.Saliency(network).attribute(IMAGES, target=[1, 3]), weights.abs(), 1e-6)
    maps, delta = captum.IntegratedGradients(network).attribute(
        IMAGES, baselines=0.5, target=[1, 3], n_steps=3, return_convergence_delta=True
    )
    assert_close(maps, weights * (IMAGES - 0.5), 1e-5)
    assert delta.abs().max() < 1e-5
    averaged = captum.IntegratedGradients(network, multiply_by_inputs=False)
    assert_close(averaged.attribute(IMAGES, target=[1, 3], n_steps=2), weights, 1e-5)
    covered = captum.Occlusion(network).attribute(
        IMAGES, (3, 1, 1), baselines=IMAGES.flip(0), target=torch.tensor([1, 3])
    )
    expected = (weights * (IMAGES - IMAGES.flip(0))).sum(dim=1, keepdim=True)
    assert_close(covered, expected.expand_as(covered), 1e-5)


def test_functions_tuples_and_single_outputs_are_taken() -> None:
    network = linear(1)
    (maps,) = captum.InputXGradient(network.forward).attribute((IMAGES,))
    assert_close(maps.sum(dim=(1, 2, 3)), (network(IMAGES) - network[1].bias)[:, 0].detach(), 1e-5)  # type: ignore[operator]
    classes = linear()
    top = classes(IMAGES).argmax(dim=1)
    given = captum.Saliency(classes).attribute(IMAGES, target=top)
    assert torch.equal(captum.Saliency(classes).attribute(IMAGES), given)
    one = captum.Saliency(classes).attribute(IMAGES, target=torch.tensor(2))
    assert torch.equal(one, captum.Saliency(classes).attribute(IMAGES, target=2))


def test_the_network_is_left_as_it_was() -> None:
    network = tiny_cnn().network.train()
    images = torch.randn(2, 3, 32, 32)
    before = state_of(network)
    for maps in (
        captum.IntegratedGradients(network).attribute(images, target=1, n_steps=2),
        captum.Occlusion(network).attribute(images, (3, 16, 16), strides=(3, 16, 16), target=1),
        captum.LayerGradCam(network, "4").attribute(images, target=1),
    ):
        assert not maps.requires_grad
    assert_unchanged(before, network)


def test_mistakes_are_one_clear_error() -> None:
    network = linear()
    with pytest.raises(ExplainerError, match="method='riemann_trapezoid'.*'gausslegendre' or"):
        captum.IntegratedGradients(network).attribute(IMAGES, method="riemann_trapezoid")
    with pytest.raises(ExplainerError, match=r"sliding_window_shapes=\(1, 2, 2\).*\(3, height"):
        captum.Occlusion(network).attribute(IMAGES, (1, 2, 2), target=1)
    with pytest.raises(ExplainerError, match="additional_forward_args"):
        captum.Saliency(network).attribute(IMAGES, 1, additional_forward_args=2)  # type: ignore[arg-type]
    with pytest.raises(ExplainerError, match="attribute_to_layer_input"):
        captum.LayerGradCam(tiny_cnn().network, "4").attribute(
            torch.randn(1, 3, 32, 32), 1, attribute_to_layer_input=True
        )
    with pytest.raises(ImageError, match="inputs"):
        captum.Saliency(network).attribute(IMAGES[0], target=1)
    with pytest.raises(ImageError, match=r"baselines \(3, 3, 8, 10\)"):
        captum.IntegratedGradients(network).attribute(IMAGES, torch.zeros(3, 3, 8, 10), 1)
    with pytest.raises(TapError, match="'5' does not exist"):
        captum.LayerGradCam(network, "5")
