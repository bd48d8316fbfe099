"""Every situation: slow formulas, the other maps of a plain twin, or the promised refusal."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scripts.docs.situations import PREPROCESSING, SITUATIONS, Situation, default_dtype
from ttame.classifiers.classifier import Classifier
from ttame.errors import TtameError
from ttame.explainers.known_explainers import make_explainer
from ttame.explainers.trained.attention_explainer import new_attention_explainer
from ttame.images.preprocessing import Preprocessing

WINDOW = 8
OPTIONS: dict[str, dict[str, Any]] = {
    "rise": {"masks": 20},
    "integrated_gradients": {"steps": 2},
    "occlusion": {"window": WINDOW, "stride": WINDOW},
}


def images(preprocessing: Preprocessing = PREPROCESSING) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    shape = (2, preprocessing.number_of_channels, *preprocessing.input_size)
    return torch.randn(shape, generator=generator, dtype=torch.float32)


def maps(method: str, classifier: Classifier) -> Tensor:
    made = make_explainer(method, classifier, **OPTIONS.get(method, {}))
    return made(images(classifier.preprocessing), 1).maps


def head_maps(classifier: Classifier) -> Tensor:
    """Of a head with weights of its own, on this classifier's features."""
    with default_dtype(torch.float32):  # random weights depend on it
        explainer = new_attention_explainer(classifier, seed=3)
    return explainer(images(classifier.preprocessing), 1).maps


def grad_cam_by_hand(network: nn.Module, plain: Classifier) -> Tensor:
    """ReLU(Σ_k mean(∂y/∂A_k) A_k), with nothing of ttame but where to read A."""
    kept: list[Tensor] = []
    tap = plain.taps[-1]

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> Tensor:
        kept.append(output)
        return output.clone()

    handle = network.get_submodule(tap.layer).register_forward_hook(keep)
    scores = network(images(plain.preprocessing))
    handle.remove()
    (gradient,) = torch.autograd.grad(scores[:, 1].sum(), kept[0])
    values, slopes = (
        each
        if each.ndim == 4
        else each[:, tap.prefix_tokens :].transpose(1, 2).unflatten(2, tap.grid)
        for each in (kept[0], gradient)
    )
    return (slopes.mean((2, 3), keepdim=True) * values).sum(1, keepdim=True).relu().detach()


@torch.no_grad()
def occlusion_by_hand(network: nn.Module, plain: Classifier) -> Tensor:
    """What covering each window with zeros takes from the score."""
    pictures = images(plain.preprocessing)
    drops = torch.zeros(len(pictures), 1, *pictures.shape[2:])
    before = network(pictures)[:, 1]
    for top in range(0, pictures.shape[2], WINDOW):
        for left in range(0, pictures.shape[3], WINDOW):
            window = (..., slice(top, top + WINDOW), slice(left, left + WINDOW))
            covered = pictures.clone()
            covered[window] = 0
            drops[window] = (before - network(covered)[:, 1])[:, None, None, None]
    return drops


def input_x_gradient_by_hand(network: nn.Module, plain: Classifier) -> Tensor:
    """Σ over channels of x · ∂y/∂x."""
    pictures = images(plain.preprocessing).requires_grad_()
    (gradient,) = torch.autograd.grad(network(pictures)[:, 1].sum(), pictures)
    return (pictures * gradient).sum(1, keepdim=True).detach()


BY_HAND = {
    "grad_cam": grad_cam_by_hand,
    "occlusion": occlusion_by_hand,
    "input_x_gradient": input_x_gradient_by_hand,
}


def compare(situation: Situation) -> None:
    """All maps of a situation that works."""
    network, twin = situation.make(), situation.twin()
    options = {"preprocessing": situation.preprocessing, "taps": situation.taps}
    with situation.around():
        classifier = Classifier(network, outputs=situation.outputs, **options)
        found = {method: maps(method, classifier) for method in situation.methods}
        if "grad_cam" in found:
            found["a trained head"] = head_maps(classifier)
    assert situation.said in classifier.tap_choice.reason
    plain = Classifier(twin, **options)
    for method, of_situation in found.items():
        if method in BY_HAND:
            expected = BY_HAND[method](twin, plain)
        else:
            expected = head_maps(plain) if " " in method else maps(method, plain)
        assert of_situation.dtype == torch.float32
        largest = float(expected.abs().max())
        assert largest > 0, method
        assert float((of_situation - expected).abs().max()) <= situation.tolerance * largest, method
        assert not torch.allclose(expected, expected.roll(1, dims=-1), atol=0.01 * largest)


def refuse(situation: Situation) -> None:
    """Every method of a situation that does not work."""
    for method in situation.methods:
        with situation.around(), pytest.raises(TtameError, match=situation.said) as refused:
            maps(
                method,
                Classifier(
                    situation.make(),
                    preprocessing=situation.preprocessing,
                    taps=situation.taps,
                    outputs=situation.outputs,
                ),
            )
        assert "\n" not in str(refused.value)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda each: each.title)
def test_every_situation_works_or_is_refused_in_its_words(situation: Situation) -> None:
    (compare if situation.works else refuse)(situation)


def test_the_session_is_as_it_was() -> None:
    with default_dtype(torch.float64), torch.autocast("cpu", torch.bfloat16):
        maps("grad_cam", Classifier(SITUATIONS[0].make(), preprocessing=PREPROCESSING))
        assert torch.get_default_dtype() == torch.float64
        assert torch.is_autocast_enabled("cpu")
    network = next(each for each in SITUATIONS if "flag" in each.title).make()
    maps("grad_cam", Classifier(network, preprocessing=PREPROCESSING))
    assert network.grad_checkpointing is True
