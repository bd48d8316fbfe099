"""``ttame train --features-from``: trained, and explained again by what the folder says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.test_commands import run
from ttame.explainers.trained.explainer_folder import load_explainer

OTHER = ["--features-from", "timm/test_resnet", "--features-weights", "none"]
QUICK = ["--epochs", "1", "--batch-size", "2", "--workers", "0", "--device", "cpu"]


def test_train_and_explain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    for index in range(5):
        pixels = np.random.default_rng(index).integers(0, 255, (34, 34, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{index}.png")
    model = ["--model", "timm/test_vit", "--weights", "none", "--image-size", "160"]
    place = [*("--data", str(tmp_path / "photos")), *("--out", str(tmp_path / "made"))]
    train = ["train", "--preset", "p-tame", *model, *place, *QUICK]
    assert run(train, monkeypatch) == 2
    assert "--features-from timm/resnet18" in capsys.readouterr().err
    assert run([*train, *OTHER], monkeypatch) == 0
    assert "the head reads the features of timm/test_resnet" in capsys.readouterr().err
    command = json.loads((tmp_path / "made" / "config.json").read_text())["training"]["command"]
    assert " ".join(OTHER) in command and "--features-taps" in command

    explained = ["explain", str(tmp_path / "photos" / "0.png"), "--out", str(tmp_path / "why")]
    assert run([*explained, "--explainer", str(tmp_path / "made")], monkeypatch) == 0
    again = load_explainer(tmp_path / "made")
    assert again.features_from is not None
    assert (again.classifier.name, again.features_from.name) == (
        "timm/test_vit",
        "timm/test_resnet",
    )


def test_what_makes_no_sense_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "made")]
    assert run(["train", "--data", str(tmp_path), *out, *OTHER[2:]], monkeypatch) == 2
    assert "--features-weights without --features-from" in capsys.readouterr().err
    texts = ["train", "--text-data", str(tmp_path / "texts.jsonl"), *out, *OTHER]
    assert run(texts, monkeypatch) == 2
    assert "--features-from with --text-data" in capsys.readouterr().err
