"""``ttame train --preset few-shot``: what is said, what is written, what is refused."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.cli.test_commands import run
from ttame.classifiers.known_classifiers import load_classifier
from ttame.cli.training_display import TrainingDisplay
from ttame.explainers.trained.attention_explainer import (
    AttentionExplainer,
    new_attention_explainer,
)
from ttame.explainers.trained.head_settings import HeadPart
from ttame.explainers.trained.known_heads import HEADS
from ttame.explainers.trained.trained_cards import trained_card
from ttame.training.training_progress import TrainingProgress
from ttame.training.training_settings import (
    OBJECTIVES,
    PRESETS,
    training_settings,
)

WITHOUT_PRIOR = "timm/mobilenetv3_small_050"
NETWORKS: dict[str, dict[str, object]] = {
    "timm/resnet10t": {"num_classes": 5, "channels": [4, 8, 8, 12]},
    WITHOUT_PRIOR: {"num_classes": 5},
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
    train += ["--mean-map", "0.4"]
    assert run(train, monkeypatch) == 0
    said = capsys.readouterr().err
    lacks = network == WITHOUT_PRIOR
    assert said.count("without a prior") == int(lacks)
    assert f"training a few-shot head for {network}" in said
    config = json.loads((out / "config.json").read_text())
    assert config["method"] == "few_shot"
    assert ("prior" in config["head"]["settings"]["without"]) == lacks
    assert config["head"]["settings"]["maps"] == {"kind": "min-max", "mean_map": 0.4}
    assert config["training"]["settings"]["head"]["maps"]["mean_map"] == 0.4
    assert "--mean-map 0.4" in config["training"]["command"]
    assert re.search(
        r"epoch 1: held-out loss .* random masks [\d.]+, AD [\d.]+ %, IC [\d.]+ %", said
    )
    assert "| epoch | loss | drop | random masks | AD % |" in (out / "README.md").read_text(
        encoding="utf-8"
    )

    page = tmp_path / "why"
    explain = ["explain", str(photos / "0.png"), "--device", "cpu", "-o", str(page)]
    # A folder may not ask for other channels than the library's; who types them may.
    typed = words if "channels" in NETWORKS[network] else []
    assert run([*explain, *typed, "--explainer", str(out)], monkeypatch) == 0
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
    words = [
        *named(WITHOUT_PRIOR, tmp_path),
        *QUICK,
        *FEW_SHOT,
        "--without",
        "prior",
    ]
    words += ["--maps", "raw", "--optimiser", "sgd", "--objective", "t-tame"]
    words += ["--data", str(photos)]
    assert run(["train", *words, "--out", str(tmp_path / "out")], monkeypatch) == 0
    said = capsys.readouterr().err
    assert "without a prior" not in said
    assert re.search(r"held-out loss [\d.]+ = cross entropy [\d.]+ \+ area [\d.]+ \+ smooth", said)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["head"]["settings"]["maps"] == {"kind": "raw"}
    assert config["training"]["settings"]["optimiser"]["kind"] == "sgd"
    assert config["training"]["settings"]["objective"]["kind"] == "t-tame"
    for typed in ("--without prior", "--maps raw", "--optimiser sgd", "--objective t-tame"):
        assert typed in config["training"]["command"]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (
            ["--preset", "t-tame", "--without", "prior"],
            "without prior with head t-tame",
        ),
        (["--preset", "tame", "--without", "gate"], "without gate with head t-tame"),
        ([*FEW_SHOT, "--without", "proir"], "prior"),
        ([*FEW_SHOT, "--class-token", "multiply"], "class-token multiply with head few-shot"),
        ([*FEW_SHOT, "--optimiser", "adam"], "adamw"),
        ([*FEW_SHOT, "--maps", "sigmoyd"], "sigmoid"),
        (["--preset", "t-tame", "--maps", "min-max"], "maps min-max for a head of kind t-tame"),
        ([*FEW_SHOT, "--head", "t-tame"], "maps min-max for a head of kind t-tame"),
        ([*FEW_SHOT, "--objective", "kept"], "kept-share"),
        ([*FEW_SHOT, "--mean-map", "1"], "mean-map 1.0"),
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
        "--head": HEADS,
        "--without": get_args(HeadPart),
        "--maps": ("raw", "sigmoid", "standard", "min-max"),
        "--optimiser": ("sgd", "adamw"),
        "--objective": OBJECTIVES,
    }.items():
        for choice in choices:
            assert choice in rows[option], option
    assert "min-max" in rows["--mean-map"]


@pytest.mark.parametrize(
    ("network", "parts"),
    [
        ("timm/resnet10t", "prior, gate"),
        (WITHOUT_PRIOR, "embedding, gate"),
    ],
)
def test_inspect_tells_what_a_few_shot_head_would_have_and_cost(
    network: str,
    parts: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    # Making all methods takes most of the time, and is not what this is about.
    monkeypatch.setattr("ttame.cli.inspect._print_methods", lambda classifier: None)
    words = [network, "--weights", "none", "--image-size", "64", "--device", "cpu"]
    for name, value in NETWORKS[network].items():
        words += ["--network-option", f"{name}={json.dumps(value)}"]
    assert run(["inspect", *words], monkeypatch) == 0
    lines = capsys.readouterr().out.splitlines()
    (row,) = [line for line in lines if line.startswith("few-shot head")]
    assert "parameters" in row and "multiplications" in row
    listed, _, evidence = row.rstrip().partition("; its prior is made of ")
    assert listed.endswith(f"parts: {parts}")
    assert bool(evidence) == parts.startswith("prior")
    assert sum(line.startswith("T-TAME head") for line in lines) == 1


MEASURED = {"average_drop": 12.34, "increase_in_confidence": 56.78, "mean_map_value": 0.456}
LOSSES: dict[str, tuple[dict[str, float], str, str]] = {
    "kept-share": ({"loss": 0.25, "drop": 0.25}, "loss 0.250", "loss | drop"),
    "t-tame": (
        {"loss": 2.5, "cross_entropy": 1.5, "area": 0.75, "smoothness": 0.25},
        "loss 2.500 = cross entropy 1.500 + area 0.750 + smoothness 0.250",
        "loss | cross entropy | area | smoothness",
    ),
}


def tiny() -> AttentionExplainer:
    settings = training_settings("few-shot")
    classifier = load_classifier(
        "timm/resnet10t", "none", image_size=64, network_options=NETWORKS["timm/resnet10t"]
    )
    return new_attention_explainer(classifier, settings.head, method="few_shot")


@pytest.mark.parametrize("objective", LOSSES)
def test_the_terminal_shows_a_loss_as_the_sum_of_its_parts(
    objective: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    parts, said, _ = LOSSES[objective]
    state = TrainingProgress(
        step=7, steps=21, epoch=2, epochs=3, parts=parts, learning_rate=0.1,
        images_per_second=12.5, seconds_left=3.0, validation={**parts, **MEASURED},
    )  # fmt: skip
    with TrainingDisplay(tiny().classifier, training_settings("few-shot")) as display:
        display.show(state)
        assert f"7/21 {said} 12.5 images/s, 0:03 left" in display.line.state.remark
    shown = capsys.readouterr().err
    assert f"epoch 3: held-out {said}, AD 12.3 %, IC 56.8 %, mean map 0.46\n" in shown


@pytest.mark.parametrize("objective", LOSSES)
def test_the_card_has_a_column_for_every_part(objective: str, tmp_path: Path) -> None:
    parts, _, columns = LOSSES[objective]
    epochs = [{"epoch": 0, **parts, **MEASURED}, {"epoch": 1, **parts, **MEASURED}]
    record = {
        "settings": training_settings("few-shot").as_json(), "data": "photos",
        "data_fingerprint": "f", "training_images": 3, "held_out_images": 2, "steps": 6,
        "processes": 1, "device": "cpu", "validation": epochs, "finished": "2026-01-01",
    }  # fmt: skip
    explainer = dataclasses.replace(tiny(), training=record)
    assert explainer.card == trained_card("few_shot")
    explainer.save(tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    lines = card.splitlines()
    start = lines.index(f"| epoch | {columns} | AD % | IC % | mean map value |")
    assert lines[start + 1].count("---") == lines[start].count("|") - 1
    numbers = " | ".join(f"{value:.3f}" for value in parts.values())
    assert lines[start + 2 : start + 4] == [
        f"| {epoch} | {numbers} | 12.3 | 56.8 | 0.46 |" for epoch in (1, 2)
    ]
    assert "| objective | kept-share |" in lines
    (maps,) = [line for line in lines if line.startswith("| maps | the")]
    assert "each map from 0 to 1, to a power" in maps
