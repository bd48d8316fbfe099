"""The commands as a user types them: what they print, what they write, how they fail."""

from __future__ import annotations

import functools
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from tests.tiny_networks import tiny_cnn
from ttame.classifiers.known_classifiers import load_classifier
from ttame.cli import main as command_line
from ttame.explainers.trained.attention_explainer import new_attention_explainer
from ttame.training import learning_rate_test

TINY_NETWORK = [
    "--model",
    "timm/resnet10t",
    "--image-size",
    "32",
    "--network-option",
    "num_classes=5",
    "--device",
    "cpu",
]


def run(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run ``ttame`` in this process; return the exit code."""
    monkeypatch.setattr("sys.argv", ["ttame", *arguments])
    with pytest.raises(SystemExit) as stopped:
        command_line.main()
    code = stopped.value.code
    return 0 if code is None else int(code)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve noisy photos in two folders, one of them broken."""
    generator = np.random.default_rng(0)
    for index in range(12):
        folder = tmp_path / "photos" / ("a" if index % 2 else "b")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 255, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    (tmp_path / "photos" / "a" / "torn.png").write_bytes(b"not a picture")
    return tmp_path / "photos"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Weights of the tiny network as a user would have them."""
    torch.manual_seed(0)
    classifier = load_classifier(
        "timm/resnet10t", "none", image_size=32, network_options={"num_classes": 5}
    )
    path = tmp_path / "weights.safetensors"
    save_file(classifier.network.state_dict(), path)
    return path


def test_train_then_explain(
    photos: Path,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "explainer"
    options = ["--epochs", "1", "--batch-size", "4", "--workers", "0", "--weights", str(weights)]
    code = run(
        ["train", *TINY_NETWORK, *options, "--data", str(photos), "--out", str(out)], monkeypatch
    )
    printed = capsys.readouterr()
    assert code == 0
    assert "held-out loss" in printed.err
    assert "1 unreadable images were skipped" in printed.err
    assert "torn.png" in printed.err
    assert f"saved the explainer to {out}" in printed.out
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md",
        "config.json",
        "explainer.safetensors",
        "training.jsonl",
    ]
    lines = [json.loads(line) for line in (out / "training.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3]

    command = ["train", *TINY_NETWORK, *options, "--data", str(photos), "--out", str(out)]
    assert run([*command, "--resume"], monkeypatch) == 0
    assert "is complete" in capsys.readouterr().out

    page = tmp_path / "why"
    code = run(
        ["explain", str(photos), "-e", str(out), "-c", "top2", "-o", str(page), "--device", "cpu"],
        monkeypatch,
    )
    printed = capsys.readouterr()
    assert code == 0
    assert "skipped" in printed.err
    assert str(page / "index.html") in printed.out
    # Both explained classes stand in the table with their probabilities.
    assert len(re.findall(r"class \d [\d.]+%, class \d [\d.]+%", printed.out)) == 12
    described = json.loads((page / "explanations.json").read_text())
    assert len(described["images"]) == 12
    assert (page / "index.html").stat().st_size > 1000

    code = run(["explain", str(photos), "-e", str(out), "-o", str(page)], monkeypatch)
    assert code == 2
    assert "exists" in capsys.readouterr().err


def test_find_learning_rate(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "range"
    options = ["--batch-size", "4", "--workers", "0", "--weights", "none", "--find-learning-rate"]
    command = ["train", *TINY_NETWORK, *options, "--data", str(photos), "--out", str(out)]
    quick = functools.partial(learning_rate_test.find_learning_rate, steps=12)
    monkeypatch.setattr(learning_rate_test, "find_learning_rate", quick)
    assert run(command, monkeypatch) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "learning_rate.json",
        "learning_rate.svg",
    ]
    assert 2 <= len(json.loads((out / "learning_rate.json").read_text())["rates"]) <= 12


def test_inspect_prints_choice_reason_and_cost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["inspect", "timm/resnet10t", "--weights", "none", "--image-size", "64"]
    assert run([*arguments, "--layers"], monkeypatch) == 0
    said = capsys.readouterr().out
    # The option that all the other commands have names it as well.
    arguments[1:2] = ["-m", "timm/resnet10t"]
    assert run([*arguments, "--layers"], monkeypatch) == 0
    assert capsys.readouterr().out == said
    printed = " ".join(said.split())
    for expected in ("CNN", "layer2", "layer4", "last 3 stages", "parameters", "MB", "layer1.0"):
        assert expected in printed


@pytest.mark.parametrize(
    ("taps", "expected"),
    [
        ("layer4.1.relu", "runs 2 times in one pass; the last run is read (--taps layer4.1.relu#0"),
        ("layer4.1.relu#0", "layer4.1.relu runs 2 times in one pass; run #0 of #0 to #1 is read"),
        ("layer4.1.bn1", "layer4.1.bn1"),
    ],
)
def test_inspect_says_which_run_of_a_layer_is_read(
    taps: str, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Making all methods takes most of the time, and is not what this is about.
    monkeypatch.setattr("ttame.cli.inspect._print_methods", lambda classifier: None)
    arguments = ["inspect", "torchvision/resnet18", "--weights", "none", "--image-size", "64"]
    assert run([*arguments, "--taps", taps], monkeypatch) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert expected in printed
    assert ("times in one pass" in printed) == ("relu" in taps)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["inspect", "timm/resnet5O"], "resnet50"),
        (["inspect", "resnet50"], "timm/resnet50"),
        (["inspect"], "no model"),
        (["inspect", "timm/resnet10t", "-m", "timm/resnet10t"], "a model twice"),
        (["inspect", "timm/resnet10t", "--weights", "none", "--taps", "layer9"], "layer"),
        (["inspect", "timm/resnet10t", "--weights", "none", "--image-size", "big"], "224x320"),
        (["inspect", "timm/resnet10t", "--weights", "missing.safetensors"], "do not exist"),
        (["inspect", "timm/resnet10t", "--weights", "none", "--device", "tpu7"], "tpu7"),
        (["train", "--out", "x"], "--data"),
        (["train", "--data", "nowhere", *TINY_NETWORK, "--weights", "none"], "--out"),
        (["train", "--preset", "t-tam", "--data", "x", "--out", "y"], "t-tame"),
        (["train", "--epochs", "0", "--data", "x", "--out", "y"], "epochs 0"),
        (
            [
                "train",
                "--data",
                "nowhere",
                "--out",
                "y",
                *TINY_NETWORK,
                "--weights",
                "none",
            ],
            "nowhere does not exist",
        ),
        (["explain", "nothing.jpg"], "nothing.jpg does not exist"),
        (["explain", "-e", "no-such-explainer", "README.md"], "README.md is not a readable image"),
    ],
)
def test_errors_are_one_line_with_exit_code_2(
    arguments: list[str],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("text")
    code = run(arguments, monkeypatch)
    error = capsys.readouterr().err.strip()
    assert code == 2
    assert error.startswith("ttame: error: ")
    assert expected in error
    assert "\n" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_a_typing_mistake_in_an_option_exits_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain", "--explaner", "x"], monkeypatch) == 2
    assert "--explaner" in capsys.readouterr().err


def test_unknown_classes_are_found_before_anything_is_written(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    classifier = tiny_cnn()
    new_attention_explainer(classifier).save(tmp_path / "saved")
    monkeypatch.setattr(
        "ttame.explainers.trained.saved_networks.load_described_classifier",
        lambda *a, **o: classifier,
    )
    config_path = tmp_path / "saved" / "config.json"
    config = json.loads(config_path.read_text())
    config["classifier"]["recipe"] = {
        "name": "tiny",
        "weights": "default",
        "image_size": None,
        "network_options": {},
    }
    config_path.write_text(json.dumps(config))
    out = tmp_path / "why"
    arguments = ["explain", str(photos), "-e", str(tmp_path / "saved"), "-o", str(out)]
    assert run([*arguments, "-c", "kind 1,knd 2"], monkeypatch) == 2
    assert "kind 2" in capsys.readouterr().err
    assert not out.exists()
    assert run([*arguments, "-c", "kind 1, kind 2"], monkeypatch) == 0
    described = json.loads((out / "explanations.json").read_text())
    assert [entry["name"] for entry in described["images"][0]["classes"]] == ["kind 1", "kind 2"]


def test_ctrl_c_is_one_line_that_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ttame.classifiers.known_classifiers.load_classifier", interrupt)
    assert run(["inspect", "efficientnet_lite0"], monkeypatch) == 130
    assert capsys.readouterr().err == "ttame: interrupted\n"
    (tmp_path / "list.txt").write_text("photo.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    command = ["evaluate", "--data", str(tmp_path / "list.txt"), "--out", str(tmp_path / "out")]
    assert run(command, monkeypatch) == 130
    said = capsys.readouterr().err
    assert said.count("interrupted; finished batches are kept, and --resume") == 1
    assert "Traceback" not in said


def test_photos_whose_names_are_no_utf8_are_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    strange = os.fsdecode(os.fsencode(tmp_path / "photos") + b"/caf\xe9.png")
    Image.new("RGB", (40, 40), (200, 0, 0)).save(strange)
    words = ["explain", str(tmp_path / "photos"), "--weights", "none", *TINY_NETWORK]
    words += ["--methods", "random", "--out", str(tmp_path / "why")]
    assert run(words, monkeypatch) == 0
    assert "caf" in (tmp_path / "why" / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["explain", "evaluate", "train", "inspect", "methods"])
def test_h_is_help_in_every_command(command: str) -> None:
    helped = CliRunner().invoke(command_line.app, [command, "-h"])
    assert helped.exit_code == 0 and "Usage:" in helped.output
