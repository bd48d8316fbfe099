"""What the registry promises of every method: facts, options, seeds, budgets, precision."""

from __future__ import annotations

import copy
import dataclasses
import functools
import json

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import assert_close
from tests.explainers.test_every_explainer import (
    METHODS,
    QUICK_OPTIONS,
    cached,
    explainer_for,
    images_for,
    made,
)
from tests.tiny_networks import TINY
from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError, MemoryLimitError, UnknownNameError
from ttame.explainers.contract.method_card import LRP_LICENCE_NOTE
from ttame.explainers.known_explainers import (
    EXPLAINERS,
    make_explainer,
    method_options,
    methods_for,
)
from ttame.explainers.method_description import describe_method
from ttame.explainers.trained.trained_cards import TRAINED_CARDS
from ttame.images.preprocessing import Preprocessing

COMPUTED = [name for name in EXPLAINERS if name not in TRAINED_CARDS]


def any_network(method: str) -> str:
    """A tiny network that the method is defined for."""
    for network in ("cnn", "timm vit"):
        if not isinstance(made(method, network), str):
            return network
    raise AssertionError(f"{method} explains neither the tiny CNN nor the tiny ViT")


@pytest.mark.parametrize("method", EXPLAINERS)
def test_the_card_states_the_facts(method: str) -> None:
    card = EXPLAINERS[method].card
    assert card.name == method
    for fact in (card.title, card.networks, card.cost):
        assert fact and fact == fact.strip()
    assert card.paper or card.family == "baseline"
    propagates = "lrp" in method or method == "transformer_attribution"
    assert (card.licence_note == LRP_LICENCE_NOTE) == (
        propagates or card.family == "relevance propagation"
    )
    assert ("seed" in method_options(method)) == card.random


@pytest.mark.parametrize("method", COMPUTED)
def test_every_option_is_described(method: str) -> None:
    for option in describe_method(method).options:
        assert option.meaning, f"{method} does not describe {option.name}"


def test_the_methods_of_the_comparison_are_all_here() -> None:
    asked = [
        "input_x_gradient",
        "integrated_gradients",
        "smooth_grad",
        "rise",
        "occlusion",
        "random",
        "centre_gaussian",
        "cam",
        "class_evidence",
        "grad_cam",
        "grad_cam_plus_plus",
        "xgrad_cam",
        "hires_cam",
        "layer_cam",
        "eigen_cam",
        "score_cam",
        "ablation_cam",
        "recipro_cam",
        "raw_attention",
        "attention_rollout",
        "generic_attention",
        "transformer_attribution",
        "partial_lrp",
        "lrp",
        "full_lrp",
        "attn_lrp",
        "vit_recipro_cam",
        "class_embedding",
        "legrad",
        "vit_cx",
        "iia",
        "agf",
        "t_tame",
        "tame",
        "l_cam_img",
        "l_cam_fm",
        "p_tame",
        "meaningful_perturbation",
        "extremal_perturbation",
        "caap",
    ]
    assert set(asked) <= set(EXPLAINERS)


@pytest.mark.parametrize("method", EXPLAINERS)
def test_only_class_specific_methods_tell_classes_apart(method: str) -> None:
    explainer = explainer_for(method, any_network(method) if method in COMPUTED else "cnn")
    maps = explainer(images_for(explainer), "all").maps
    same = all(torch.equal(maps[:, 0], maps[:, k]) for k in range(maps.shape[1]))
    assert same != EXPLAINERS[method].card.class_specific


@pytest.mark.parametrize("method", COMPUTED)
def test_the_map_lives_where_the_card_says(method: str) -> None:
    explainer = explainer_for(method, any_network(method))
    images = images_for(explainer, count=1)
    on_pixels = explainer(images).maps.shape[2:] == images.shape[2:]
    assert on_pixels == (EXPLAINERS[method].card.map_is == "pixels")


@pytest.mark.parametrize("method", [name for name in COMPUTED if EXPLAINERS[name].card.random])
def test_the_seed_decides(method: str) -> None:
    classifier = cached(any_network(method))
    options = QUICK_OPTIONS.get(method, {})
    images = images_for(explainer_for(method, any_network(method)))

    def maps(seed: int) -> torch.Tensor:
        return make_explainer(method, classifier, **{**options, "seed": seed})(images).maps

    state = torch.get_rng_state()
    first = maps(1)
    assert torch.equal(state, torch.get_rng_state()), "the global generator is the user's"
    assert torch.equal(first, maps(1))
    assert not torch.equal(first, maps(2))


@pytest.mark.parametrize("method", COMPUTED)
def test_a_tiny_memory_budget_gives_the_same_maps(method: str) -> None:
    explainer = explainer_for(method, any_network(method))
    images = images_for(explainer)
    tight, roomy = (explainer(images, "top2", memory_budget=budget).maps for budget in (1, "1GiB"))
    assert_close(tight, roomy, 1e-4)


@functools.cache
def in_half_precision(network: str) -> Classifier:
    home = cached(network)
    half = copy.deepcopy(home.network).bfloat16()
    return Classifier(half, preprocessing=home.preprocessing)


@pytest.mark.parametrize("method", EXPLAINERS)
def test_half_precision_networks_give_finite_float32_maps(method: str) -> None:
    classifier = in_half_precision(any_network(method) if method in COMPUTED else "cnn")
    explainer = METHODS[method](classifier)
    explanation = explainer(images_for(explainer, count=1))
    assert explanation.maps.dtype == torch.float32
    assert torch.isfinite(explanation.maps).all()


@pytest.mark.parametrize("method", EXPLAINERS)
def test_provenance_can_be_written_down(method: str) -> None:
    explainer = explainer_for(method, any_network(method) if method in COMPUTED else "cnn")
    assert json.loads(json.dumps(explainer.provenance())) == explainer.provenance()


@pytest.mark.parametrize("network", TINY)
def test_what_is_left_out_says_why(network: str) -> None:
    classifier = cached(network)
    applicable, reasons = methods_for(classifier)
    assert applicable.keys() | reasons.keys() == EXPLAINERS.keys()
    assert not applicable.keys() & reasons.keys()
    for name, reason in reasons.items():
        assert reason.startswith(f"{name} is not defined for {classifier.name}")


def test_names_and_options_have_near_matches() -> None:
    classifier = TINY["cnn"]()
    with pytest.raises(UnknownNameError, match="grad_cam"):
        make_explainer("gradcam", classifier)
    with pytest.raises(UnknownNameError, match="option of rise 'mask'.*masks"):
        make_explainer("rise", classifier, mask=5)
    with pytest.raises(MemoryLimitError, match="memory budget '2 cats'.*2GiB"):
        make_explainer("rise", classifier)(torch.zeros(1, 3, 32, 32), memory_budget="2 cats")
    with pytest.raises(ExplainerError, match=r"memory_budget= when rise is made.*with each call"):
        make_explainer("rise", classifier, memory_budget="2GiB")


@pytest.mark.parametrize("method", EXPLAINERS)
def test_an_explainer_is_complete_when_made(method: str) -> None:
    """Its options are fields: nothing can be set, and another classifier gets the same ones."""
    explainer = explainer_for(method, any_network(method) if method in COMPUTED else "cnn")
    for name in ("progress", "memory_budget", "classifier"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(explainer, name, None)
    if method in COMPUTED:
        assert method_options(method).keys() <= explainer.options.keys()
    again = explainer.for_classifier(explainer.classifier)
    assert again is not explainer
    assert again.options == explainer.options
    images = images_for(explainer, count=1)
    assert torch.equal(again(images, 1).maps, explainer(images, 1).maps)


def test_a_network_or_swapped_arguments_are_one_line() -> None:
    from torch import nn

    from tests.tiny_networks import tiny_cnn
    from ttame.errors import ClassifierError, ExplainerError

    classifier = tiny_cnn()
    with pytest.raises(ClassifierError, match=r"a Sequential as classifier.*ttame\.Classifier\("):
        make_explainer("grad_cam", nn.Sequential())  # type: ignore[arg-type]
    with pytest.raises(ExplainerError, match=r"swapped.*make_explainer\('grad_cam', classifier\)"):
        make_explainer(classifier, "grad_cam")  # type: ignore[arg-type]


class Brightness(nn.Module):
    """How bright each colour is; no layer of it puts anything out."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, images: Tensor) -> Tensor:
        return images.square().mean(dim=(2, 3)) * self.scale


@pytest.mark.parametrize("method", COMPUTED)
def test_a_network_without_taps_is_explained_or_refused_in_words(method: str) -> None:
    classifier = Classifier(Brightness(), preprocessing=Preprocessing.imagenet(32), taps=())
    assert repr(classifier) == "<Classifier Brightness: 3 classes, taps none>"
    try:
        explainer = make_explainer(method, classifier, **QUICK_OPTIONS.get(method, {}))
    except ExplainerError as problem:
        assert f"{method} is not defined for Brightness" in str(problem)
        assert method not in ("rise", "occlusion", "input_x_gradient", "extremal_perturbation")
        return
    assert explainer(torch.randn(2, 3, 32, 32)).maps.isfinite().all()
