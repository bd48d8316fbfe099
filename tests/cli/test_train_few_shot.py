"""``ttame train --preset few-shot``: what is said, what is written, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.cli.test_commands import run
from ttame.classifiers.known_classifiers import load_classifier
from ttame.explainers.attention.head_settings import HeadVariant, MapScale
from ttame.training.training_settings import PRESETS, HeadPart, Optimiser

NETWORKS: dict[str, dict[str, object]] = {
    "timm/resnet10t": {"num_classes": 5, "channels": [4, 8, 8, 12]},
    "timm/convnext_atto": {"num_classes": 5, "depths": [1, 1, 1, 1], "dims": [4, 8, 8, 12]},
}
FEW_SHOT = ["--preset", "few-shot"]
QUICK = ["--epochs", "1", "--batch-size", "4", "--workers", "0", "--device", "cpu"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for index in range(9):
        pixels = generator.integers(0, 255, (34, 34, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{index}.png")
    return tmp_path / "photos"


def named(network: str, folder: Path) -> list[str]:
    """The options of a network with weights in a file; at 64 pixels it still pools 2×2 places."""
    torch.manual_seed(0)
    options = NETWORKS[network]
    classifier = load_classifier(network, "none", image_size=64, network_options=options)
    save_file(classifier.network.state_dict(), folder / "weights.safetensors")
    words = ["--model", network, "--weights", str(folder / "weights.safetensors")]
    for name, value in options.items():
        words += ["--network-option", f"{name}={json.dumps(value)}"]
    return [*words, "--image-size", "64"]


@pytest.mark.parametrize("network", NETWORKS)
def test_who_has_no_prior_is_told_so(
    network: str,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    words, out = named(network, tmp_path), tmp_path / "out"
    train = ["train", *words, *QUICK, *FEW_SHOT, "--data", str(photos), "--out", str(out)]
    assert run(train, monkeypatch) == 0
    said = capsys.readouterr().err
    lacks = "convnext" in network
    assert said.count("without a prior") == int(lacks)
    assert f"training a few-shot head for {network}" in said
    config = json.loads((out / "config.json").read_text())
    assert config["method"] == "few_shot"
    assert config["head"]["few_shot"]["prior"] == (not lacks)

    page = tmp_path / "why"
    explain = ["explain", str(photos / "0.png"), "--device", "cpu", "-o", str(page)]
    assert run([*explain, "--explainer", str(out)], monkeypatch) == 0
    (method,) = json.loads((page / "explanations.json").read_text())["methods"]
    assert method["name"] == "few_shot"
    option = ["--method", "few_shot,cam", "--option", f"few_shot.folder={json.dumps(str(out))}"]
    if lacks:
        option[1] = "few_shot,grad_cam"
    assert run([*explain, *words, *option, "--overwrite"], monkeypatch) == 0


def test_a_part_that_is_left_out_on_purpose_is_no_surprise(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [*named("timm/convnext_atto", tmp_path), *QUICK, *FEW_SHOT, "--without", "prior"]
    words += ["--maps", "raw", "--optimiser", "sgd", "--data", str(photos)]
    assert run(["train", *words, "--out", str(tmp_path / "out")], monkeypatch) == 0
    assert "without a prior" not in capsys.readouterr().err
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["head"]["maps"] == "raw"
    assert config["training"]["settings"]["optimiser"] == "sgd"
    for typed in ("--without prior", "--maps raw", "--optimiser sgd"):
        assert typed in config["training"]["command"]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["--without", "prior"], "without prior for a head of variant t-tame"),
        (["--preset", "tame", "--without", "gate"], "without gate for a head of variant t-tame"),
        ([*FEW_SHOT, "--without", "proir"], "prior"),
        ([*FEW_SHOT, "--class-token", "multiply"], "class-token drop"),
        ([*FEW_SHOT, "--optimiser", "adam"], "adamw"),
        ([*FEW_SHOT, "--maps", "sigmoyd"], "sigmoid"),
        (["--preset", "few_shot"], "few-shot"),
    ],
)
def test_what_does_not_fit_is_one_line(
    typed: list[str],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["train", "--data", "x", "--out", "y", *typed], monkeypatch) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("ttame: error: ") and "\n" not in error
    assert expected in error


def test_the_help_names_every_choice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    assert run(["train", "--help"], monkeypatch) == 0
    rows = {
        word: line
        for line in capsys.readouterr().out.splitlines()
        for word in line.split()
        if word.startswith("--")
    }
    for option, choices in {
        "--preset": PRESETS,
        "--head": get_args(HeadVariant),
        "--without": get_args(HeadPart),
        "--maps": get_args(MapScale),
        "--optimiser": get_args(Optimiser),
    }.items():
        for choice in choices:
            assert choice in rows[option], option


@pytest.mark.parametrize(
    ("network", "parts"),
    [("timm/resnet10t", "prior, embedding, gate"), ("timm/convnext_atto", "embedding, gate")],
)
def test_inspect_tells_what_a_few_shot_head_would_have_and_cost(
    network: str,
    parts: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    words = [network, "--weights", "none", "--image-size", "64", "--device", "cpu"]
    for name, value in NETWORKS[network].items():
        words += ["--network-option", f"{name}={json.dumps(value)}"]
    assert run(["inspect", *words], monkeypatch) == 0
    lines = capsys.readouterr().out.splitlines()
    (row,) = [line for line in lines if line.startswith("few-shot head")]
    assert "parameters" in row and "multiplications" in row
    assert row.rstrip().endswith(f"parts: {parts}")
    assert sum(line.startswith("T-TAME head") for line in lines) == 1
