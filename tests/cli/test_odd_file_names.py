"""Photos and folders whose names hold any bytes, in every command that reads photos."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from tests.cli.test_commands import TINY_NETWORK, run, weights
from ttame.explainers.trained.explainer_folder import load_explainer
from ttame.files.printable_names import printable

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux takes any bytes as a file's name"
)
__all__ = ["weights"]  # a fixture

NAMES = [
    b"caf\xe9.png",
    b"new\nline.png",
    b"quote\"'`$x.png",
    b"<b>bold&amp;.png",
    b"--resume.png",
    b"a" * 251 + b".png",
    b"bell\x07\x1b[31m.png",
    "gn\u202egpj.png".encode(),
    b" [red]space .png",
]
UNREADABLE = b"torn\xff\n.png"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder whose own name is not UTF-8."""
    folder = tmp_path / os.fsdecode(b"f\xf6lder")
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name in NAMES:
        pixels = generator.integers(0, 255, (40, 48, 3), dtype=np.uint8)
        with (folder / os.fsdecode(name)).open("wb") as file:
            Image.fromarray(pixels).save(file, "PNG")
    (folder / os.fsdecode(UNREADABLE)).write_bytes(b"not a picture")
    return folder


def shown(name: bytes) -> str:
    return printable(os.fsdecode(name))


def test_explain(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / os.fsdecode(b"expl\xe4")
    command = ["explain", str(photos), "--methods", "grad_cam", "--out", str(out), *TINY_NETWORK]
    assert run([*command, "--weights", "none"], monkeypatch) == 0
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out and "\x07" not in printed.out and "\u202e" not in printed.out
    assert rf"skipped: {printable(str(photos))}/torn\xff\x0a.png is no" in printed.err
    described = json.loads((out / "explanations.json").read_text(encoding="utf-8"))
    assert {image["name"] for image in described["images"]} == {
        str(photos / os.fsdecode(name)) for name in NAMES
    }
    assert [photo["name"] for photo in described["not_explained"]] == [
        str(photos / os.fsdecode(UNREADABLE))
    ]
    page = (out / "index.html").read_bytes().decode("utf-8")
    assert r"caf\xe9.png" in page and r"torn\xff\x0a.png" in page
    assert "<b>bold" not in page and "&lt;b&gt;bold&amp;amp;.png" in page


def test_evaluate(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    listed = tmp_path / "list.txt"
    names = [name for name in [*NAMES, UNREADABLE] if b"\n" not in name]
    listed.write_bytes(b"\n".join(b"f\xf6lder/" + name + b" 3" for name in names))
    out = tmp_path / "out"
    command = ["evaluate", "--methods", "grad_cam,random", "--out", str(out), *TINY_NETWORK]
    command += ["--weights", "none", "--metrics", "average_drop"]
    command += ["--data", str(photos), "--data", str(listed)]
    assert run(command, monkeypatch) == 0, capsys.readouterr().err
    rows = pyarrow.parquet.read_table(out / "rows.parquet")
    keys = {f"0:{shown(name)}" for name in NAMES}
    keys |= {f"1:{shown(b'f' + bytes([0xF6]) + b'lder/' + name)}" for name in names}
    assert set(rows["photo"].to_pylist()) == keys
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert results["data"] == r"f\xf6lder, list.txt"
    assert [name for name, _ in results["skipped"]] == [
        printable(str(photos)) + r"/torn\xff\x0a.png"
    ]
    page = (out / "report.html").read_bytes().decode("utf-8")
    assert r"f\xf6lder" in page and "<b>bold" not in page


def test_train_and_use(
    photos: Path,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "explainer"
    command = ["train", *TINY_NETWORK, "--weights", str(weights), "--epochs", "1"]
    command += ["--batch-size", "4", "--workers", "0", "--data", str(photos), "--out", str(out)]
    assert run(command, monkeypatch) == 0
    assert r"torn\xff\x0a.png: is not a readable image" in capsys.readouterr().err
    explainer = load_explainer(out)
    record = explainer.training_record
    assert list(record["skipped_images"]) == [printable(str(photos)) + r"/torn\xff\x0a.png"]
    assert r"f\xf6lder" in record["command"]
    for line in (out / "training.jsonl").read_text(encoding="utf-8").splitlines():
        json.loads(line)
    measured = tmp_path / "evaluation"
    command = ["evaluate", *TINY_NETWORK, "--weights", str(weights), "--methods", str(out)]
    command += ["--data", str(photos), "--out", str(measured), "--metrics", "average_drop"]
    assert run(command, monkeypatch) == 0, capsys.readouterr().err
    results = json.loads((measured / "results.json").read_text(encoding="utf-8"))
    assert [method["name"] for method in results["methods"]] == [printable(str(out))]


def test_results_go_into_such_folders_and_are_read_again(
    photos: Path,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = tmp_path / os.fsdecode(b"r\xe9sultats")
    place.mkdir()
    moved = place / os.fsdecode(b"w\xe9ights.safetensors")
    moved.write_bytes(weights.read_bytes())
    network = [*TINY_NETWORK, "--weights", str(moved)]
    trained = place / "explainer"
    command = ["train", *network, "--data", str(photos), "--out", str(trained), "--workers", "0"]
    command += ["--batch-size", "4", "--epochs", "1", "--checkpoint-every", "1"]
    assert run(command, monkeypatch) == 0, capsys.readouterr().err
    assert run([*command, "--overwrite"], monkeypatch) == 0, capsys.readouterr().err
    (trained / "unfinished").mkdir()  # as from one that was killed at once
    assert run([*command, "--resume"], monkeypatch) == 0, capsys.readouterr().err
    assert "is complete" not in capsys.readouterr().out
    assert sorted(file.name for file in trained.iterdir()) == [
        *("README.md", "config.json", "explainer.safetensors", "training.jsonl")
    ]
    measured = place / "evaluation"
    command = ["evaluate", *network, "--methods", f"{trained},grad_cam", "--data", str(photos)]
    command += ["--out", str(measured), "--metrics", "average_drop"]
    assert run(command, monkeypatch) == 0, capsys.readouterr().err
    assert run([*command, "--resume"], monkeypatch) == 0, capsys.readouterr().err
    with (measured / "rows.parquet").open("rb") as file:
        assert set(pyarrow.parquet.read_table(file)["method"].to_pylist()) == {
            *("grad_cam", printable(str(trained)))
        }


def test_an_error_about_such_a_name_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / os.fsdecode(b"no\n\x1b[1mphoto\xe9.png"))
    assert run(["explain", missing], monkeypatch) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "\x1b" not in error
    assert r"no\x0a\x1b[1mphoto\xe9.png does not exist" in error
    missing = str(tmp_path / os.fsdecode(b"no\nfolder\xe9"))
    for command in ("evaluate", "train"):
        options = ["--out", str(tmp_path / "out"), "--data", missing]
        assert run([command, *TINY_NETWORK, *options], monkeypatch) == 2
        assert capsys.readouterr().err.count("\n") == 1
