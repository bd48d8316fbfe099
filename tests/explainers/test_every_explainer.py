"""One contract for every explanation method on every kind of network."""

from __future__ import annotations

import contextlib
import copy
import functools
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import assert_close
from tests.tiny_networks import CLASSES, TINY
from ttame.classifiers.classifier import Classifier
from ttame.errors import ClassSelectionError, ExplainerError, ImageError, NonFiniteMapError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.memory_budget import ActivationMeter
from ttame.explainers.known_explainers import EXPLAINERS, make_explainer
from ttame.explainers.trained.attention_explainer import new_attention_explainer
from ttame.explainers.trained.known_head_settings import head_settings
from ttame.explainers.trained.trained_cards import P_TAME, TRAINED_CARDS
from ttame.results.explanation import Explanation
from ttame.testing.tiny_texts import tiny_text_classifier
from ttame.text_classifiers.text_classifier import TextClassifier


def untrained(method: str) -> Callable[[Classifier], Explainer]:
    """A trained method with a fresh head: the contract does not depend on the training."""
    variants: dict[str, str] = {
        "l_cam_img": "l-cam",
        "l_cam_fm": "l-cam",
        "few_shot": "few-shot",
    }
    settings = head_settings(variants.get(method, "t-tame"))

    def make(classifier: Classifier) -> Explainer:
        if settings.kind == "l-cam":
            classifier = classifier.with_taps(classifier.taps[-1:])
        other = TINY["cnn"]() if method == P_TAME else None
        return new_attention_explainer(classifier, settings, method=method, features_from=other)

    return make


QUICK_OPTIONS: dict[str, dict[str, Any]] = {
    "integrated_gradients": {"steps": 4},
    "smooth_grad": {"samples": 3},
    "rise": {"masks": 20, "cells": 4},
    "occlusion": {"window": 16, "stride": 16},
    "extremal_perturbation": {"areas": (0.3,), "steps": 1},
    "meaningful_perturbation": {"steps": 2},
    "iia": {"image_steps": 2, "attention_steps": 2},
}
"""Options that make the slow methods quick enough for a contract."""

ROUNDING = {
    "xgrad_cam": 5e-4,
    "transformer_attribution": 1e-3,
    "partial_lrp": 1e-3,
    "full_lrp": 1e-3,
}
"""Methods that enlarge rounding: XGrad-CAM divides by nearly cancelling sums of signed tokens,
relevance propagation by nearly cancelling residual sums and attention scores."""


def quick(method: str) -> Callable[[Classifier], Explainer]:
    return lambda classifier: make_explainer(method, classifier, **QUICK_OPTIONS.get(method, {}))


METHODS: dict[str, Callable[[Classifier], Explainer]] = {
    name: untrained(name) if name in TRAINED_CARDS else quick(name) for name in EXPLAINERS
}


@functools.cache
def cached(network: str) -> Classifier:
    return TINY[network]()


@functools.cache
def cached_texts() -> TextClassifier:
    return tiny_text_classifier()


@functools.cache
def made(method: str, network: str) -> Explainer | str:
    """The explainer, made once for all tests, or why there is none."""
    try:
        return METHODS[method](cached(network))
    except ExplainerError as problem:
        assert "not defined for" in str(problem)
        return str(problem)


def explainer_for(method: str, network: str) -> Explainer:
    explainer = made(method, network)
    if isinstance(explainer, str):
        pytest.skip(explainer)
    return explainer


@functools.cache
def explained(method: str, network: str) -> Explanation:
    """What several tests look at: the two most probable classes of two images."""
    explainer = explainer_for(method, network)
    return explainer(images_for(explainer), "top2")


def first_defined(method: str, *networks: str) -> Explainer:
    """The method on the first of some networks that it is defined for."""
    for network in networks:
        explainer = made(method, network)
        if not isinstance(explainer, str):
            return explainer
    pytest.skip(f"{method} is defined for none of {networks}")


def images_for(explainer: Explainer, count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(
        count, 3, *explainer.classifier.preprocessing.input_size, generator=generator
    )


def state_of(network: nn.Module) -> dict[str, Any]:
    """Everything about a network that a method must leave as it was."""
    return {
        "weights": {name: tensor.clone() for name, tensor in network.state_dict().items()},
        "modes": [module.training for module in network.modules()],
        "flags": [parameter.requires_grad for parameter in network.parameters()],
        "gradients": [parameter.grad for parameter in network.parameters()],
        "hooks": [
            (
                list(module._forward_hooks),
                list(module._forward_pre_hooks),
                list(module._backward_hooks),
            )
            for module in network.modules()
        ],
    }


def assert_unchanged(before: dict[str, Any], network: nn.Module) -> None:
    after = state_of(network)
    for key in ("modes", "flags", "hooks"):
        assert before[key] == after[key], key
    assert all(a is b for a, b in zip(before["gradients"], after["gradients"], strict=True))
    for name, tensor in before["weights"].items():
        assert torch.equal(tensor, after["weights"][name]), name


every_pair = pytest.mark.parametrize(
    ("method", "network"), [(method, network) for method in METHODS for network in TINY]
)

KINDS = ("timm resnet", "timm vit", "torchvision vit", "timm swin")
"""One network of each kind: the others run the same code of a method on tokens in another order."""

every_kind = pytest.mark.parametrize(
    ("method", "network"), [(method, network) for method in METHODS for network in KINDS]
)


@every_pair
def test_maps_have_the_documented_form(method: str, network: str) -> None:
    explainer = explainer_for(method, network)
    explanation = explained(method, network)
    assert explanation.maps.shape[:2] == explanation.classes.shape == (2, 2)
    assert explanation.maps.dtype == torch.float32
    assert explanation.classes.dtype == torch.int64
    assert explanation.logits.shape == (2, CLASSES)
    assert not explanation.maps.requires_grad
    assert torch.isfinite(explanation.maps).all()
    assert explanation.method == method
    assert explanation.provenance["classifier"] == explainer.classifier.name
    heatmaps = explanation.heatmaps(size=(40, 50))
    assert heatmaps.shape == (2, 2, 40, 50)
    assert heatmaps.min() >= 0
    assert heatmaps.max() <= 1


@every_kind
def test_every_way_to_ask_for_classes_agrees(method: str, network: str) -> None:
    """All classes of one image, and one class of each of two, against the two most probable ones.

    With a single image on its own, so that this is also about batches. How classes can be named is
    the same for all methods: see ``classifiers/test_class_selection``.
    """
    explainer, rounding = explainer_for(method, network), ROUNDING.get(method, 1e-4)
    images, top = images_for(explainer), explained(method, network)
    assert torch.equal(top.classes, top.logits.topk(2).indices)
    everything = explainer(images[1:], "all")
    assert everything.classes.tolist() == [[*range(CLASSES)]]
    assert_close(everything.maps[0, top.classes[1]], top.maps[1], rounding)
    each = explainer(images, top.classes[[0, 1], [0, 1]])
    assert_close(each.maps[:, 0], top.maps[[0, 1], [0, 1]], rounding)


@pytest.mark.parametrize(
    ("method", "network"),
    [(method, network) for method in METHODS for network in TINY if network not in KINDS],
)
def test_a_batch_gives_what_single_images_give(method: str, network: str) -> None:
    """Of the others, the test before this one says so."""
    explainer = explainer_for(method, network)
    together = explained(method, network)
    # The second one: the first may well be what it is alone where the others are mixed up.
    alone = explainer(images_for(explainer)[1:], "top2")
    assert torch.equal(alone.classes[0], together.classes[1])
    assert_close(alone.maps[0], together.maps[1], ROUNDING.get(method, 1e-4))


@every_kind
def test_the_network_is_left_as_found(method: str, network: str) -> None:
    classifier = copy.copy(cached(network))
    classifier.network = copy.deepcopy(cached(network).network)
    model = classifier.network.train()
    next(model.children()).eval()
    for index, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(index % 2 == 0)
        parameter.grad = torch.ones_like(parameter) if index % 4 == 0 else None
    calls: list[int] = []
    model.register_forward_hook(lambda *_: calls.append(1))
    before = state_of(model)
    try:
        explainer = METHODS[method](classifier)
    except ExplainerError as problem:
        assert_unchanged(before, model)
        pytest.skip(str(problem))
    images = images_for(explainer, count=1)
    explainer(images)
    assert calls, "the user's own hook still runs"
    assert_unchanged(before, model)

    last = [module for module in model.modules() if not list(module.children())][-1]

    def fail(*_: object) -> None:
        raise RuntimeError("midway")

    handle = last.register_forward_pre_hook(fail)
    during = state_of(model)
    with pytest.raises(Exception, match="midway"):
        explainer(images)
    assert_unchanged(during, model)
    handle.remove()


def kept_of_a_call(explainer: Explainer[Any], given: Any) -> int:
    """Bytes of tensors that are alive after a call, without the garbage collector."""
    explainer(given, "top2")  # what is found out once may be kept
    gc.collect()
    gc.disable()
    try:
        with ActivationMeter() as meter:
            explainer(given, "top2")
            return meter.live
    finally:
        gc.enable()


@pytest.mark.parametrize("network", ["cnn", "timm vit"])
@pytest.mark.parametrize("method", METHODS)
def test_nothing_of_a_call_is_kept(method: str, network: str) -> None:
    explainer = explainer_for(method, network)
    assert kept_of_a_call(explainer, images_for(explainer, count=1)) == 0


@pytest.mark.parametrize(
    "method", [name for name, method in EXPLAINERS.items() if "texts" in method.card.explains]
)
def test_nothing_of_a_text_is_kept(method: str) -> None:
    explainer: Explainer[Any] = METHODS[method](cached_texts())  # type: ignore[arg-type]
    assert kept_of_a_call(explainer, ["the film was great"]) == 0


BOTH_WAYS = ("timm resnet", "torchvision vit")
"""What threads have in common is a network's modes, flags and hooks, and what torch keeps for each
of them, whatever the layers are. A method reads them in one of two ways: as maps of features or as
tokens."""

TURNS = 2
"""Calls of every thread: one begins while others are in the middle. As threads change often, few
are enough."""


@contextlib.contextmanager
def often_changing_threads() -> Iterator[None]:
    """Threads give way to each other fifty times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(before / 50)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@pytest.mark.parametrize(
    ("method", "network"), [(method, network) for method in METHODS for network in BOTH_WAYS]
)
def test_four_threads_give_what_one_gives(method: str, network: str) -> None:
    explainer = explainer_for(method, network)
    model = explainer.classifier.network
    # Two threads each have the same images, and their neighbours have others.
    batches = [images_for(explainer, count=1) + index for index in range(2)]
    expected = [explainer(batch) for batch in batches]
    before = state_of(model)
    found: dict[int, list[Any]] = {}

    together = threading.Barrier(4)

    def work(index: int) -> None:
        together.wait()
        found[index] = [explainer(batches[index % 2]) for _ in range(TURNS)]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    with often_changing_threads():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for index in range(4):
        assert len(found[index]) == TURNS
        for other in found[index]:
            assert torch.equal(other.classes, expected[index % 2].classes)
            assert_close(other.maps, expected[index % 2].maps, 1e-5)
    assert_unchanged(before, model)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_call_gives_the_same_maps(method: str) -> None:
    explainer = first_defined(method, "cnn", "timm vit")
    images = images_for(explainer)
    assert torch.equal(explainer(images).maps, explainer(images).maps)


@pytest.mark.parametrize("method", METHODS)
def test_permuting_the_classes_permutes_the_maps(method: str) -> None:
    if method in TRAINED_CARDS:
        pytest.skip("a head's rows belong to its classes; tested on the head itself")
    explainer = first_defined(method, "cnn", "timm vit")
    classifier = cached("cnn" if explainer is made(method, "cnn") else "timm vit")
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    permuted = copy.copy(classifier)
    permuted.network = copy.deepcopy(classifier.network)
    with torch.no_grad():
        linear = [part for part in permuted.network.modules() if isinstance(part, nn.Linear)][-1]
        linear.weight.copy_(linear.weight[order])
        linear.bias.copy_(linear.bias[order])
    images = images_for(explainer)
    original = explainer(images, "all").maps
    assert_close(METHODS[method](permuted)(images, "all").maps, original[:, order], 1e-5)


def test_cam_and_grad_cam_agree_with_the_logit_on_a_linear_head() -> None:
    """Mean of CAM plus bias is the logit, and Grad-CAM is CAM over the number of places."""
    classifier = cached("cnn")
    images = images_for(METHODS["cam"](classifier))
    cam = METHODS["cam"](classifier)(images, "all")
    bias = classifier.network[-1].bias.detach()  # type: ignore[index,union-attr]
    assert_close(cam.maps.mean(dim=(2, 3)) + bias, cam.logits, 1e-5)
    grad_cam = METHODS["grad_cam"](classifier)(images, "all")
    places = cam.maps.shape[2] * cam.maps.shape[3]
    assert_close(grad_cam.maps, (cam.maps / places).relu(), 1e-5)


def test_bad_input_is_one_clear_error() -> None:
    explainer = METHODS["t_tame"](cached("cnn"))
    images = images_for(explainer, count=3)
    with pytest.raises(ImageError, match=r"\(3, 32, 32\).*\(B, 3, H, W\)"):
        explainer(images[0])
    with pytest.raises(ImageError, match="torch.uint8"):
        explainer(images.byte())
    with pytest.raises(ClassSelectionError, match="class index 7.*0 to 6"):
        explainer(images, 7)
    with pytest.raises(ClassSelectionError, match=r"\(2,\) for 3 images.*one list of classes"):
        explainer(images, [1, 2])
    with pytest.raises(ImageError, match="an ndarray as photo"):
        explainer([images[0].numpy()])
    assert "7 classes" in repr(explainer.classifier)
    assert repr(explainer(images)) == "<Explanation by t_tame: maps 3 x 1 x 16 x 16>"
    with pytest.raises(ClassSelectionError, match="kind 3"):
        explainer(images, "knd 3")


def test_a_map_that_is_not_finite_is_refused_by_image() -> None:
    explainer = METHODS["t_tame"](cached("cnn"))
    images = images_for(explainer)
    images[1, 0, 0, 0] = float("nan")
    with pytest.raises(NonFiniteMapError, match="t_tame.*input 1 of the batch"):
        explainer(images)


def test_photos_can_be_passed_instead_of_tensors(tmp_path: Any) -> None:
    from PIL import Image

    explainer = METHODS["t_tame"](cached("cnn"))
    photo = Image.new("RGB", (60, 40), (200, 10, 10))
    photo.save(tmp_path / "red.png")
    by_path = explainer([tmp_path / "red.png", photo])
    assert torch.equal(by_path.maps[0], by_path.maps[1])
    assert explainer(photo).maps.shape[0] == 1
