"""Networks of the user's own code, named on the command line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from ttame.classifiers.known_classifiers import load_classifier
from ttame.errors import ClassifierError, UnknownNameError, WeightsError
from ttame.images.preprocessing import Preprocessing
from ttame.images.preprocessing_changes import PreprocessingChanges

CODE = """
import torch, ttame
from torch import nn
from sizes_nearby import WIDTH

class Net(nn.Module):
    def __init__(self, classes=2):
        super().__init__()
        self.a = nn.Conv2d(3, WIDTH, 3, 2, 1)
        self.b = nn.Conv2d(WIDTH, 16, 3, 2, 1)
        self.fc = nn.Linear(16, classes)

    def forward(self, x):
        return self.fc(self.b(self.a(x).relu()).relu().mean((2, 3)))

def whole():
    return ttame.Classifier(
        Net(), preprocessing=ttame.Preprocessing.imagenet(32), class_names=["bird", "dog"],
        outputs="sigmoid", taps=["b"])

def broken():
    raise KeyError("no such\\nweights")

ready = Net(3)
number = 7
"""
HALVES = PreprocessingChanges(mean=(0.5,) * 3, std=(0.5,) * 3)


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sizes_nearby.py").write_text("WIDTH = 8")
    (tmp_path / "network_of_mine.py").write_text(CODE)
    for name in ("sizes_nearby", "network_of_mine"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path / "network_of_mine.py"


@pytest.mark.parametrize("place", ["network_of_mine.py:Net", "network_of_mine:Net"])
def test_a_class_is_called_with_the_options(code: Path, place: str) -> None:
    before = list(sys.path)
    options = {"classes": 4}
    loaded = load_classifier(place, preprocessing=HALVES, image_size=32, network_options=options)
    assert loaded.number_of_classes == 4 and loaded.preprocessing.mean == (0.5,) * 3
    assert sys.path == before
    assert loaded.recipe is not None
    assert loaded.recipe.name == (f"{code}:Net" if ".py" in place else place)


def test_weights_of_a_file_are_loaded(code: Path) -> None:
    saved = load_classifier(f"{code}:Net", preprocessing=Preprocessing.imagenet(32)).network
    torch.save({"state_dict": saved.state_dict()}, "model.ckpt")
    images = torch.rand(2, 3, 32, 32)
    whole = Preprocessing.imagenet(32)
    again = load_classifier(f"{code}:Net", "model.ckpt", preprocessing=whole)
    torch.testing.assert_close(again.logits(images), saved.eval()(images))
    with pytest.raises(WeightsError, match="has 2 classes, and .* has 5; try: network_options"):
        options = {"classes": 5}
        load_classifier(f"{code}:Net", "model.ckpt", preprocessing=whole, network_options=options)


def test_a_classifier_keeps_what_it_says(code: Path) -> None:
    loaded = load_classifier(f"{code}:whole")
    assert loaded.class_names == ("bird", "dog") and loaded.outputs.kind == "sigmoid"
    assert [tap.layer for tap in loaded.taps] == ["b"] and "returned" in loaded.outputs_reason
    assert load_classifier(f"{code}:whole", outputs="softmax").outputs.kind == "softmax"
    assert (
        load_classifier(f"{code}:ready", preprocessing=HALVES, image_size=32).number_of_classes == 3
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("network_of_mine.py:Net", "does not say how its pixels are prepared; try: preprocessing="),
        ("network_of_mine.py:broken", r"KeyError: .*in network_of_mine.py line"),
        ("network_of_mine.py:number", "is an int; allowed: a function or class"),
        ("network_of_mine.py:torch.zeros", "failed with no arguments .*network_options"),
        ("missing.py:Net", "does not exist"),
        ("missing_module:Net", "cannot be imported.*No module named"),
    ],
)
def test_what_cannot_work_is_one_line(code: Path, name: str, message: str) -> None:
    with pytest.raises(ClassifierError, match=message) as caught:
        load_classifier(name)
    assert "\n" not in str(caught.value)


def test_a_misspelt_name_has_near_matches(code: Path) -> None:
    with pytest.raises(UnknownNameError, match="try: Net"):
        load_classifier(f"{code}:net")
