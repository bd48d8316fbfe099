"""Every situation: Grad-CAM by hand, the other maps of a plain twin, or the promised refusal."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scripts.docs.compatibility_page import PAGE
from scripts.docs.situations import SITUATIONS, Situation, as_markdown, default_dtype
from ttame.classifiers.classifier import Classifier
from ttame.errors import TtameError
from ttame.explainers.known_explainers import make_explainer
from ttame.explainers.trained.attention_explainer import new_attention_explainer
from ttame.images.preprocessing import Preprocessing

OPTIONS: dict[str, dict[str, Any]] = {
    "rise": {"masks": 20},
    "integrated_gradients": {"steps": 2},
    "occlusion": {"window": 8, "stride": 8},
}
PREPROCESSING = Preprocessing.imagenet(32)


def images() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, 3, 32, 32, generator=generator, dtype=torch.float32)


def maps(method: str, classifier: Classifier) -> Tensor:
    made = make_explainer(method, classifier, **OPTIONS.get(method, {}))
    return made(images(), 1).maps


def head_maps(classifier: Classifier) -> Tensor:
    """Of a head with weights of its own, on this classifier's features."""
    with default_dtype(torch.float32):  # random weights depend on it
        explainer = new_attention_explainer(classifier, seed=3)
    return explainer(images(), 1).maps


def grad_cam_by_hand(network: nn.Module, layer: str, prefix: int, grid: tuple[int, int]) -> Tensor:
    """ReLU(Σ_k mean(∂y/∂A_k) A_k), with nothing of ttame."""
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        kept.append(output)
        return output.clone()

    handle = network.get_submodule(layer).register_forward_hook(keep)
    scores = network(images())
    handle.remove()
    (gradient,) = torch.autograd.grad(scores[:, 1].sum(), kept[0])
    values, slopes = (
        each if each.ndim == 4 else each[:, prefix:].transpose(1, 2).unflatten(2, grid)
        for each in (kept[0], gradient)
    )
    return (slopes.mean((2, 3), keepdim=True) * values).sum(1, keepdim=True).relu().detach()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda each: each.title)
def test_every_situation_works_or_is_refused_in_its_words(situation: Situation) -> None:
    if not situation.works:
        for method in situation.methods:
            with situation.around(), pytest.raises(TtameError, match=situation.said) as refused:
                maps(
                    method,
                    Classifier(situation.make(), preprocessing=PREPROCESSING, taps=situation.taps),
                )
            assert "\n" not in str(refused.value)
        return
    network, twin = situation.make(), situation.twin()
    with situation.around():
        classifier = Classifier(network, preprocessing=PREPROCESSING)
        found = {method: maps(method, classifier) for method in situation.methods}
        if "grad_cam" in found:
            found["a trained head"] = head_maps(classifier)
    assert situation.said in classifier.tap_choice.reason
    plain = Classifier(twin, preprocessing=PREPROCESSING)
    tap = plain.taps[-1]
    for method, of_situation in found.items():
        expected = head_maps(plain) if " " in method else maps(method, plain)
        if method == "grad_cam":
            expected = grad_cam_by_hand(twin, tap.layer, tap.prefix_tokens, tap.grid)
        assert of_situation.dtype == torch.float32
        largest = float(expected.abs().max())
        assert largest > 0
        assert float((of_situation - expected).abs().max()) <= situation.tolerance * largest, method
        assert not torch.allclose(expected, expected.roll(1, dims=-1), atol=0.01 * largest)


def test_the_session_is_as_it_was() -> None:
    with default_dtype(torch.float64), torch.autocast("cpu", torch.bfloat16):
        maps("grad_cam", Classifier(SITUATIONS[0].make(), preprocessing=PREPROCESSING))
        assert torch.get_default_dtype() == torch.float64
        assert torch.is_autocast_enabled("cpu")
    network = next(each for each in SITUATIONS if "flag" in each.title).make()
    maps("grad_cam", Classifier(network, preprocessing=PREPROCESSING))
    assert network.grad_checkpointing is True


def test_the_page_has_the_section() -> None:
    assert as_markdown() in PAGE.read_text(encoding="utf-8"), (
        "run: python -m scripts.docs compatibility"
    )
