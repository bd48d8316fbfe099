"""Which targets methods take, and that weightings are what they say."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conftest import assert_close
from tests.explainers.test_every_explainer import QUICK_OPTIONS, first_defined, images_for
from tests.tiny_networks import CLASSES
from ttame.classifiers.targets import Target
from ttame.errors import ClassSelectionError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.suggested_methods import (
    EXPLAINING,
    TAKING_MORE,
    WITHOUT_ATTENTION,
    WITHOUT_RELEVANCE,
)
from ttame.explainers.known_explainers import EXPLAINERS, make_explainer
from ttame.explainers.trained.attention_explainer import new_attention_explainer
from ttame.explainers.trained.head_settings import HeadSettings
from ttame.explainers.trained.known_head_settings import head_settings
from ttame.explainers.trained.trained_cards import TRAINED_CARDS

LINEAR: dict[str, dict[str, Any]] = {
    "input_x_gradient": {},
    "integrated_gradients": {},
    "smooth_grad": {"signed": True},
    "rise": {},
    "occlusion": {},
    "vit_cx": {},
    "cam": {},
    "class_evidence": {},
    "grad_cam": {"rectified": False},
    "xgrad_cam": {"rectified": False},
    "hires_cam": {"rectified": False},
    "recipro_cam": {},
    "lrp": {},
    "full_lrp": {},
    "partial_lrp": {},
    "transformer_attribution": {},
    "attn_lrp": {},
    "libra_grad": {},
    "agf": {},
    "class_embedding": {},
    "vit_recipro_cam": {},
}
"""Methods with the options that make their maps linear in the weights of the classes."""

WEIGHTS = torch.linspace(-1, 1, CLASSES).roll(3)
OTHERS = torch.linspace(0.3, -0.9, CLASSES) ** 2

NETWORKS = ("cnn", "timm resnet", "timm vit", "torchvision vit")


@functools.cache
def explainer(method: str) -> Explainer:
    if method in TRAINED_CARDS:
        return first_defined(method, "cnn")
    options = {**QUICK_OPTIONS.get(method, {}), **LINEAR.get(method, {})}
    return make_explainer(method, first_defined(method, *NETWORKS).classifier, **options)


def maps(method: str, target: Target) -> Tensor:
    made = explainer(method)
    return made(images_for(made, count=2), target=target).maps


def assert_near(found: Tensor, expected: Tensor, tolerance: float = 2e-4) -> None:
    assert float((found - expected).abs().max()) <= tolerance * float(expected.abs().max())


@pytest.mark.parametrize("method", LINEAR)
def test_the_map_of_a_weighting_is_the_weighted_sum_of_the_maps_of_the_classes(method: str) -> None:
    made = explainer(method)
    images = images_for(made, count=2)
    every = made(images, "all").maps
    assert float(every.std()) > 0
    contrast = made(images, target=Target.contrast(3, 1)).maps[:, 0]
    assert_near(contrast, every[:, 3] - every[:, 1])
    weighted = made(
        images, target=Target.weights(torch.stack([WEIGHTS, OTHERS])[None].expand(2, -1, -1))
    )
    for place, weights in enumerate((WEIGHTS, OTHERS)):
        assert_near(weighted.maps[:, place], torch.einsum("c,bchw->bhw", weights, every))


@pytest.mark.parametrize(
    "settings",
    [head_settings("t-tame"), head_settings("few-shot", maps="raw"), head_settings("l-cam")],
    ids=lambda settings: settings.kind,
)
def test_trained_heads_are_mixed_before_they_are_scaled(settings: HeadSettings) -> None:
    classifier = first_defined("grad_cam", "cnn").classifier
    if settings.kind == "l-cam":
        classifier = classifier.with_taps(classifier.taps[-1:])
    made = new_attention_explainer(classifier, settings)
    images = images_for(made, count=2)
    every = made(images, "all").maps
    contrast = made(images, target=Target.contrast(3, 1)).maps[:, 0]
    assert_near(contrast, every[:, 3] - every[:, 1])
    weighted = made(images, target=Target.weights(WEIGHTS)).maps[:, 0]
    assert_near(weighted, torch.einsum("c,bchw->bhw", WEIGHTS, every))


def test_a_scaled_head_scales_the_contrast() -> None:
    classifier = first_defined("grad_cam", "cnn").classifier
    raw, scaled = (
        new_attention_explainer(classifier, head_settings("t-tame", maps=kind))
        for kind in ("raw", "sigmoid")
    )
    images, target = images_for(raw, count=2), Target.contrast(0, 2)
    contrast = raw(images, target=target).maps
    assert_close(scaled(images, target=target).maps, 1 / (1 + (-contrast).exp()), 1e-6)


@pytest.mark.parametrize("method", EXPLAINERS)
def test_a_weighting_of_one_class_is_that_class(method: str) -> None:
    one_class = torch.zeros(CLASSES)
    one_class[4] = 1
    made = explainer(method)
    images = images_for(made, count=2)
    expected = made(images, 4)
    found = made(images, target=Target.weights(one_class))
    assert_near(found.maps, expected.maps)
    assert torch.equal(found.classes, expected.classes)
    assert found.target_label(0, 0) == expected.target_label(0, 0)


@pytest.mark.parametrize("method", EXPLAINERS)
def test_a_function_is_what_it_computes_or_refused_with_methods_that_take_one(method: str) -> None:
    function = Target.function(lambda scores: scores[:, 3] - scores[:, 1], name="3 less 1")
    made = explainer(method)
    images = images_for(made, count=2)
    if "functions" not in made.card.targets:
        with pytest.raises(
            ClassSelectionError, match=f"{method} does not take functions.*grad_cam"
        ):
            made(images, target=function)
        return
    found = made(images, target=function)
    # Others read probabilities.
    if method not in (
        *("rise", "recipro_cam", "vit_cx", "vit_recipro_cam"),
        "meaningful_perturbation",
    ):
        assert_near(found.maps, made(images, target=Target.contrast(3, 1)).maps)
    assert found.target_labels == (("3 less 1",),) * 2
    assert torch.equal(found.classes, found.logits.argmax(dim=1, keepdim=True))


@pytest.mark.parametrize("method", [m for m in EXPLAINERS if not EXPLAINERS[m].card.class_specific])
def test_methods_that_look_at_no_class_take_every_target(method: str) -> None:
    assert EXPLAINERS[method].card.targets == ("classes", "weightings", "functions")


def listed(names: str) -> list[str]:
    return names.replace(" or ", ", ").split(", ")


def test_the_methods_that_an_error_names_take_the_kind() -> None:
    assert TAKING_MORE.keys() == {"images", "texts"}
    for kind, suggested in TAKING_MORE.items():
        assert suggested.keys() == {"classes", "weightings", "functions"}
        for target, names in suggested.items():
            for name in listed(names):
                assert target in EXPLAINERS[name].card.targets
                assert kind in EXPLAINERS[name].card.explains
    for name in {name for names in TAKING_MORE["images"].values() for name in listed(names)}:
        assert EXPLAINERS[name].card.networks.startswith("any")


def test_the_methods_that_an_error_names_explain_the_kind() -> None:
    for table in (EXPLAINING, WITHOUT_ATTENTION, WITHOUT_RELEVANCE):
        for kind, names in table.items():
            for name in listed(names):
                assert kind in EXPLAINERS[name].card.explains


def test_gradients_of_a_function_are_those_of_autograd() -> None:
    made = explainer("input_x_gradient")
    images = images_for(made, count=2)
    leaf = images.clone().requires_grad_()
    scores = made.classifier.logits(leaf)
    entropy = -(scores.softmax(1) * scores.log_softmax(1)).sum(1)
    margin = scores[:, 2] ** 2 - scores.logsumexp(1)

    def both(scores: Tensor) -> Tensor:
        entropy = -(scores.softmax(1) * scores.log_softmax(1)).sum(1)
        return torch.stack([entropy, scores[:, 2] ** 2 - scores.logsumexp(1)], dim=1)

    found = made(images, target=Target.function(both))
    assert found.target_labels[0] == ("both 1", "both 2")
    for place, value in enumerate((entropy, margin)):
        (gradient,) = torch.autograd.grad(value.sum(), leaf, retain_graph=True)
        assert_near(found.maps[:, place], (images * gradient).sum(dim=1))


def test_perturbation_sees_the_scores_through_the_function() -> None:
    made = explainer("rise")
    images = images_for(made, count=2)

    def probability(scores: Tensor) -> Tensor:
        return scores.softmax(dim=1)[:, 5]

    assert_near(made(images, target=Target.function(probability)).maps, made(images, 5).maps)


def test_iia_takes_functions_with_several_values_in_groups() -> None:
    made = make_explainer(
        "iia", first_defined("iia", "timm vit").classifier, image_steps=2, attention_steps=2
    )
    images = images_for(made, count=1)
    target = Target.function(lambda scores: scores[:, :3])
    expected = made(images, torch.tensor([[0, 1, 2]])).maps
    assert_near(made(images, target=target, memory_budget=1).maps, expected)


def test_classes_or_a_target() -> None:
    made = explainer("cam")
    with pytest.raises(ClassSelectionError, match="classes and a target; allowed: one of them"):
        made(images_for(made), 1, target=Target.of(1))
