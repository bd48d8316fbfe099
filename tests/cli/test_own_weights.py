"""From a fine-tuned file to a picture in one command, and an explainer that finds it again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from tests.cli.test_commands import run
from ttame.classifiers.known_classifiers import load_classifier
from ttame.errors import WeightsError, on_command_line
from ttame.explainers.trained.attention_explainer import new_attention_explainer
from ttame.explainers.trained.explainer_folder import load_explainer
from ttame.images.preprocessing import Preprocessing
from ttame.images.preprocessing_changes import PreprocessingChanges

CODE = """
import timm

def build():
    return timm.create_model("test_resnet", num_classes=2)
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=2)
    torch.save({"epoch": 1, "state_dict": network.state_dict()}, "model.pth")
    Path("names.txt").write_text("bird\ndog\n")
    Path("net.py").write_text(CODE)
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("photo.png")
    return tmp_path


def test_one_command_explains_a_fine_tuned_network(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = ["explain", "photo.png", "--model", "timm/test_resnet", "--weights", "model.pth"]
    typed += ["--class-names", "names.txt", "--method", "grad_cam", "--mean", "0.5", "--std"]
    assert run([*typed, "0.5", "--resize", "squash", "--image-size", "64"], monkeypatch) == 0
    said = capsys.readouterr()
    assert "model.pth has 2 classes, so num_classes=2" in said.err
    assert list((desk / "explanations").rglob("*.html"))


def test_what_is_shown_of_outputs_and_pixels(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    typed = ["inspect", "net.py:build", "--weights", "model.pth", "--mean", "0.1,0.2,0.3"]
    assert run([*typed, "--resize", "pad", "--image-size", "64"], monkeypatch) == 0
    shown = capsys.readouterr().out
    assert "softmax: logits" in shown and "assumed" in shown
    assert "padded with black to 64×64, mean (0.1, 0.2, 0.3)" in shown


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["--mean", "red"], "--mean 'red'; allowed: 0.5, a number for each channel"),
        (["--resize", "big"], "--resize 'big'; allowed: 256"),
        (["--resize", "70", "--crop-share", "0.9"], "both a resize and a crop share"),
        (["--interpolation", "cubic"], "interpolation 'cubic'"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    desk: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    typed: list[str],
    message: str,
) -> None:
    assert run(["inspect", "timm/test_resnet", "--weights", "model.pth", *typed], monkeypatch) == 2
    assert message in capsys.readouterr().err


def test_an_explainer_finds_its_network_again(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = PreprocessingChanges(mean=(0.5,) * 3, resize="squash")
    classifier = load_classifier(
        "timm/test_resnet", "model.pth", image_size=64, preprocessing=changes
    )
    new_attention_explainer(classifier).save("mine")
    assert load_explainer("mine").classifier.preprocessing == classifier.preprocessing
    Path("model.pth").rename("moved.pth")
    with pytest.raises(WeightsError, match=r"do not exist any more; try: .*weights=FILE"):
        load_explainer("mine")
    again = load_explainer("mine", weights="moved.pth").classifier
    assert again.fingerprint() == classifier.fingerprint()
    typed = ["explain", "photo.png", "--explainer", "mine", "--weights", "moved.pth"]
    assert run([*typed, "--device", "cpu"], monkeypatch) == 0
    typed = ["explain", "photo.png", "--weights", "moved.pth", "--overwrite"]
    assert run(typed, monkeypatch) == 2
    assert "--weights without --model" in capsys.readouterr().err


def test_code_is_typed_again_and_the_message_says_how(desk: Path) -> None:
    preprocessing = Preprocessing((64, 64), 70, (0.5,) * 3, (0.5,) * 3)
    classifier = load_classifier("net.py:build", "model.pth", preprocessing=preprocessing)
    new_attention_explainer(classifier).save("mine")
    with pytest.raises(Exception, match="which only you may ask for") as caught:
        load_explainer("mine")
    assert f"--model {desk}/net.py:build --weights {desk}/model.pth" in on_command_line(
        caught.value
    )
    assert load_explainer("mine", classifier=classifier).classifier.name == classifier.name


ONE_CHANNEL = """
import torch
from torch import nn

def build(channels=1):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
"""
SMALL = ["--image-size", "16", "--mean", "0.5", "--std", "0.5"]


def test_a_network_of_one_channel_gives_a_picture(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("grey.py").write_text(ONE_CHANNEL)
    Image.fromarray(np.linspace(0, 65535, 1200, dtype=np.uint16).reshape(30, 40)).save("x-ray.png")
    typed = ["explain", "photo.png", "x-ray.png", "--model", "grey.py:build", *SMALL]
    assert run([*typed, "--method", "grad_cam"], monkeypatch) == 0
    said = capsys.readouterr().err
    assert "takes 1 channel: photos are made grey, with mean 0.5" in said
    assert "0 became black and 65535 white (16-bit integers)" in said
    assert len(list((desk / "explanations").rglob("*.jpg"))) >= 2


def test_a_network_of_bands_takes_arrays_and_refuses_photos(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bands.py").write_text(ONE_CHANNEL)
    np.save(
        "field.npy", np.random.default_rng(0).integers(0, 10_000, (13, 20, 24), dtype=np.uint16)
    )
    network = ["--model", "bands.py:build", "--network-option", "channels=13", *SMALL]
    bands = ["--channels", "13", "--band-scale", "10000", "--display-bands", "3,2,1"]
    typed = ["explain", "field.npy", *network, *bands, "--method", "grad_cam"]
    assert run(typed, monkeypatch) == 0
    capsys.readouterr()
    written = (desk / "explanations" / "explanations.json").read_text()
    stored = json.loads(written)["preprocessing"]
    assert (stored["channels"], stored["band_scale"]) == (13, 10_000)
    assert stored["display_bands"] == [3, 2, 1]
    typed = ["explain", "photo.png", *network, "--method", "grad_cam", "--out", "others"]
    assert run(typed, monkeypatch) == 2
    said = capsys.readouterr().err
    assert "a photo of mode RGB for a network of 13 bands; allowed: an array" in said
    assert "Traceback" not in said
