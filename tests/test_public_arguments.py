"""Whatever public function takes a network, a classifier or an explainer says so in one line."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

import ttame
from ttame.testing import tiny_classifier

ROLES = {
    "classifier": {"classifier"},
    "explainer": {"explainer", "explainers", "methods"},
    "network": {"network", "detector", "image_tower", "model"},
}
"""What is passed to the names of arguments."""

_DATA = {"Evaluation", "Explanation", "ExplainedPhotos"}
"""Results, which nobody makes by hand; they hold names of networks."""


tiny = functools.cache(tiny_classifier)


@functools.cache
def plain_network() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)),
    )


def taking() -> Iterator[tuple[str, Callable[..., Any], str, str]]:
    """Every public callable with an argument of a role: its name, itself, argument and role."""
    public = {name: getattr(ttame, name) for name in ttame.__all__}
    public["Classifier.zero_shot"] = ttame.Classifier.zero_shot
    for name, thing in public.items():
        if not callable(thing) or name in _DATA:
            continue
        if inspect.isclass(thing) and inspect.isabstract(thing):
            continue
        for argument in inspect.signature(thing).parameters:
            for role, names in ROLES.items():
                if argument in names:
                    yield name, thing, argument, role


CASES = list(taking())


def others(function: Callable[..., Any], argument: str, folder: Path) -> dict[str, Any]:
    """Something for every other argument that has no default."""
    known = {
        "name": "grad_cam",
        "place": "efficientnet_lite0",
        "folder": str(folder / "made"),
        "out": str(folder / "made"),
        "photos": str(folder),
        "data": str(folder),
        "text_embeddings": torch.eye(4)[:2],
        "names": ["a", "b"],
        "preprocessing": ttame.Preprocessing.imagenet(16),
        "images": torch.zeros(1, 3, 16, 16),
        "box": (0, 0, 8, 8),
        "reference": 1.0,
        "repository": "you/mine",
        "tokenizer": None,
        "head": ttame.new_attention_explainer(tiny()).head,
        "classifier": tiny(),
        "methods": {},
    }
    return {
        name: known[name]
        for name, parameter in inspect.signature(function).parameters.items()
        if name != argument
        and parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }


def test_all_of_them_are_found() -> None:
    found = {name for name, *_ in CASES}
    assert found >= {"evaluate", "explain", "make_explainer", "train_explainer", "load_explainer"}
    assert found >= {"export_explainer", "save_explainer", "Classifier", "AttentionExplainer"}


@pytest.mark.parametrize(("name", "function", "argument", "role"), CASES)
def test_something_else_is_refused_in_one_line(
    name: str, function: Callable[..., Any], argument: str, role: str, tmp_path: Path
) -> None:
    wrong: list[Any] = ["efficientnet_lite0", 3]
    wrong += [] if role == "network" else [plain_network()]
    wrong += [] if role == "classifier" else [tiny()]
    for given in wrong:
        with pytest.raises(ttame.TtameError) as refused:
            function(**{argument: given}, **others(function, argument, tmp_path))
        said = str(refused.value)
        kind = type(given).__name__
        article = "an" if kind[0].lower() in "aeiou" else "a"
        assert f"{article} {kind} as " in said and "\n" not in said, (name, said)
        if isinstance(given, nn.Module) or (role == "classifier" and isinstance(given, str)):
            assert "try: " in said, (name, said)
    assert not list(tmp_path.iterdir())


def test_a_network_that_timm_configured_will_do(tmp_path: Path) -> None:
    network = timm.create_model("test_resnet", num_classes=4)
    assert ttame.new_attention_explainer(network).classifier.network is network
    with pytest.raises(ttame.TtameError, match="'blocks.2' does not exist"):
        ttame.load_explainer("efficientnet_lite0", network)  # in the second place, too


def test_a_classifier_stands_in_the_second_place_of_load_explainer() -> None:
    classifier = ttame.load_classifier("efficientnet_lite0")
    found = ttame.load_explainer("efficientnet_lite0", classifier)
    assert found.classifier.network is classifier.network


def test_a_preprocessing_stands_in_the_second_place_of_classifier() -> None:
    preprocessing = ttame.Preprocessing.imagenet(16)
    assert ttame.Classifier(plain_network(), preprocessing).preprocessing is preprocessing


@pytest.mark.parametrize(
    ("guess", "said"),
    [
        (lambda: ttame.load_classifier("timm/resnet10t", pretrained=False), "weights='none'"),
        (lambda: ttame.load_classifier("timm/resnet10t", pretrained=True), "weights='default'"),
        (
            lambda: ttame.load_classifier("timm/resnet10t", num_classes=2),
            "network_options={'num_classes': 2}",
        ),
        (lambda: ttame.load_classifier(plain_network()), r"ttame.Classifier\(network"),  # type: ignore[arg-type]
        (lambda: ttame.training_settings({"epochs": 2}), r"training_settings\(\*\*table\)"),  # type: ignore[arg-type]
        (
            lambda: ttame.new_attention_explainer(tiny(), "few-shot"),  # type: ignore[arg-type]
            r"ttame.head_settings\('few-shot'\)",
        ),
        (
            lambda: ttame.train_explainer(tiny(), "photos", "out", epochs=2),
            r"ttame.training_settings\(epochs=2\)",
        ),
        (lambda: ttame.explain("photos", ["grad_cam"], "out"), r"make_explainer\('grad_cam'"),  # type: ignore[list-item]
    ],
)
def test_what_others_would_type_is_answered_with_what_to_type(
    guess: Callable[[], Any], said: str
) -> None:
    with pytest.raises(ttame.TtameError, match=f"try: .*{said}"):
        guess()
