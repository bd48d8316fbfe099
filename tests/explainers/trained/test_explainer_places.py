"""Several bundled explainers of one classifier: the default one, and how others are found."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch

from tests.tiny_networks import tiny_cnn, tiny_timm
from ttame.classifiers.classifier import Classifier
from ttame.cli.chosen_explainers import choose_explainers, choose_methods
from ttame.cli.method_options import MethodOptions
from ttame.cli.network_options import NamedClassifier
from ttame.errors import ExplainerError, UnknownNameError
from ttame.explainers.known_explainers import make_explainer, methods_for
from ttame.explainers.trained.attention_explainer import new_attention_explainer
from ttame.explainers.trained.explainer_folder import load_explainer
from ttame.explainers.trained.explainer_places import bundled_explainers, bundled_methods
from ttame.explainers.trained.known_head_settings import head_settings

BUDGET = 2**30


def named(name: str) -> Classifier:
    classifier = copy.copy(tiny_cnn())
    classifier.name = name
    return classifier


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two explainers of the classifier ``lite``, one of ``lite2``; the first letters are alike."""
    made = {
        "lite": (named("lite"), "few-shot", "few_shot"),
        "lite--t-tame": (named("lite"), "t-tame", "t_tame"),
        "lite2": (named("lite2"), "t-tame", "tame"),
    }
    for folder, (classifier, variant, method) in made.items():
        settings = head_settings(variant)
        explainer = new_attention_explainer(classifier, settings, method=method)
        explainer.save(tmp_path / "bundled" / folder)
    place = "ttame.explainers.trained.explainer_places.files"
    monkeypatch.setattr(place, lambda _: tmp_path)
    return tmp_path / "bundled"


def test_the_folder_of_the_classifiers_name_is_the_default(root: Path) -> None:
    assert bundled_explainers() == {name: root / name for name in ("lite", "lite--t-tame", "lite2")}
    assert load_explainer("lite", classifier=named("lite")).method == "few_shot"
    assert load_explainer("lite--t-tame", classifier=named("lite")).method == "t_tame"
    with pytest.raises(UnknownNameError, match="lite--t-tame"):
        load_explainer("lite--t-tam")


def test_what_counts_is_what_the_folders_hold(root: Path) -> None:
    assert list(bundled_methods("lite").items()) == [
        ("few_shot", "lite"),
        ("t_tame", "lite--t-tame"),
    ]
    assert bundled_methods("lite2") == {"tame": "lite2"}
    assert bundled_methods("another") == {}
    # A folder that comes first in the alphabet is not a default.
    (root / "lite--t-tame").rename(root / "a-name-that-says-nothing")
    assert list(bundled_methods("lite")) == ["few_shot", "t_tame"]
    assert make_explainer("t_tame", named("lite")).method == "t_tame"


def test_a_method_finds_its_own_explainer(root: Path) -> None:
    classifier = named("lite")
    for method in ("few_shot", "t_tame"):
        explainer = make_explainer(method, classifier)
        assert explainer.method == method
        assert torch.isfinite(explainer(torch.zeros(1, 3, 32, 32)).maps).all()
    with pytest.raises(ExplainerError, match="tame is not defined for lite before it is trained"):
        make_explainer("tame", classifier)
    applicable, reasons = methods_for(classifier, ["few_shot", "t_tame", "tame", "l_cam_img"])
    assert list(applicable) == ["few_shot", "t_tame"]
    assert list(reasons) == ["tame", "l_cam_img"]


def test_evaluate_takes_the_default_one_and_any_that_is_named(root: Path) -> None:
    def chosen(*names: str, classifier: str = "lite") -> dict[str, str]:
        made, _ = choose_methods(names, named(classifier), (), False)
        return {label: explainer.method for label, explainer in made.items()}

    assert list(chosen())[-1] == "few_shot"
    assert "t_tame" not in chosen()
    assert list(chosen(classifier="lite2"))[-1] == "tame"
    assert not set(chosen(classifier="another")) & {"few_shot", "t_tame", "tame"}
    assert chosen("t_tame", "few_shot") == {"t_tame": "t_tame", "few_shot": "few_shot"}
    assert chosen("lite--t-tame", "lite") == {"lite--t-tame": "t_tame", "lite": "few_shot"}


def test_explain_takes_the_default_one_and_any_that_is_named(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NamedClassifier, "load", lambda _: named("lite"))
    lite = NamedClassifier("lite", "default", {}, "cpu")

    def chosen(methods: list[str], explainer: str | None = None) -> list[str]:
        typed = ",".join(methods) or None
        found = choose_explainers(MethodOptions(typed, explainer=explainer), lite)
        return [made.method for made in found.explainers.values()]

    assert chosen([]) == ["few_shot"]
    assert chosen([], "lite--t-tame") == ["t_tame"]
    assert chosen(["t_tame"]) == ["t_tame"]
    assert chosen(["t_tame", "cam", "few_shot"]) == ["t_tame", "cam", "few_shot"]
    with pytest.raises(ExplainerError, match="trained as few_shot, not t_tame"):
        chosen(["t_tame"], "lite")


def test_other_classifiers_of_the_name_are_refused(root: Path) -> None:
    other = tiny_timm("resnet10t", 64)
    other.name = "lite"
    with pytest.raises(ExplainerError):
        make_explainer("few_shot", other)
    config = json.loads((root / "lite" / "config.json").read_text())
    assert config["classifier"]["name"] == "lite"
