"""Memory may run out anywhere; what a user reads is one line about options of the command."""

from __future__ import annotations

import errno
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.cli.test_commands import TINY_NETWORK, run
from ttame.cli.explain import explain
from ttame.cli.memory_hints import memory_options, naming_memory_options
from ttame.cli.train import train
from ttame.explaining import explain_photos

RANDOM = [*TINY_NETWORK, "--weights", "none"]

FAILURES = {
    "ttame.images.photos._decoded": MemoryError(),
    "ttame.images.preprocessing.Preprocessing.prepare": MemoryError("Unable to allocate 3. GiB"),
    "torch.nn.functional.conv2d": RuntimeError(
        "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
    ),
    "ttame.reporting.photo_files.draw_panel": MemoryError(),
    "ttame.reporting.photo_files._save_picture": OSError(errno.ENOMEM, "Cannot allocate"),
    "ttame.reporting.report_contents.write_pages": MemoryError(),
}
"""What fails while reading, preparing, computing, drawing and writing."""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(6):
        pixels = np.random.default_rng(index).integers(0, 255, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


def fail_with(place: str, problem: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise problem

    monkeypatch.setattr(place, fail)


def the_error(capsys: pytest.CaptureFixture[str]) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize("place", FAILURES)
def test_explaining_names_its_options(
    place: str,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fail_with(place, FAILURES[place], monkeypatch)
    out = ["--out", str(tmp_path / "out")]
    assert run(["explain", str(photos), *RANDOM, "--methods", "grad_cam", *out], monkeypatch) == 2
    assert the_error(capsys) == (
        "ttame: error: not enough memory; try: --batch-size 4, an --image-size below 32, or for "
        "methods with many passes a --memory-budget below 2GiB"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", list(FAILURES)[:3])
def test_training_names_its_options(
    place: str,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fail_with(place, FAILURES[place], monkeypatch)
    options = ["--batch-size", "2", "--workers", "0", "--out", str(tmp_path / "out")]
    assert run(["train", *RANDOM, "--data", str(photos), *options], monkeypatch) == 2
    assert the_error(capsys) == (
        "ttame: error: not enough memory; try: --batch-size 1, --gradient-accumulation 2, "
        "or an --image-size below 32"
    )


def test_a_process_that_reads_photos_may_be_what_finds_no_memory(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    fail_with("ttame.images.preprocessing.Preprocessing.prepare", MemoryError(), monkeypatch)
    options = ["--batch-size", "2", "--workers", "1", "--out", str(tmp_path / "out")]
    assert run(["train", *RANDOM, "--data", str(photos), *options], monkeypatch) == 2
    printed = capfd.readouterr().err
    assert "--workers 0" in printed and "Traceback" not in printed


@pytest.mark.parametrize(
    "place",
    [*list(FAILURES)[:3], "ttame.evaluation.row_store.whole_file", "timm.create_model"],
)
def test_evaluating_names_its_options(
    place: str,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fail_with(place, FAILURES.get(place, MemoryError()), monkeypatch)
    options = ["--methods", "random", "--metrics", "average_drop", "--out", str(tmp_path / "out")]
    assert run(["evaluate", *RANDOM, "--data", str(photos), *options], monkeypatch) == 2
    error = the_error(capsys)
    assert "not enough memory; try: --batch-size 4, an --image-size below 32" in error
    assert "input_size" not in error


def test_only_options_that_help_are_named() -> None:
    bundled = {"explainer": None, "model": None, "methods": None, "image_size": None}
    assert "--image-size" not in memory_options({**bundled, "batch_size": 8})
    assert "--image-size" in memory_options({**bundled, "model": "timm/resnet18"})
    assert memory_options({"batch_size": 1, "image_size": None}) == "a smaller --image-size"
    trained = {"preset": "t-tame", "batch_size": 3, "gradient_accumulation": None, "workers": None}
    assert memory_options(trained) == "--batch-size 1, or --workers 0"


@pytest.mark.parametrize("command", [explain, train])
def test_a_command_keeps_its_signature_and_other_errors(command: Any) -> None:
    assert inspect.signature(naming_memory_options(command)) == inspect.signature(command)

    def fail(**_: Any) -> None:
        raise KeyError("other")

    with pytest.raises(KeyError, match="other"):
        naming_memory_options(fail)(batch_size=8)


def test_photos_that_are_large_come_fewer_at_a_time(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    stack = torch.stack

    def note(images: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(images, list) and images[0].shape == (3, 32, 32):
            sizes.append(len(images))
        return stack(images, *arguments, **options)

    monkeypatch.setattr(torch, "stack", note)
    monkeypatch.setattr(explain_photos, "MOST_OPEN_PIXELS", 2 * 40 * 48)
    out = ["--out", str(tmp_path / "out"), "--methods", "random"]
    assert run(["explain", str(photos), *RANDOM, *out], monkeypatch) == 0
    assert sizes == [2, 2, 2]
    assert len(list((tmp_path / "out/pictures").iterdir())) == 6


def test_a_photo_that_is_refused_does_not_end_a_folder(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    Image.new("1", (300, 300)).save(photos / "huge.png")
    monkeypatch.setattr("ttame.images.photos.MOST_PIXELS", 50_000)
    out = ["--out", str(tmp_path / "out"), "--methods", "random"]
    assert run(["explain", str(photos), *RANDOM, *out], monkeypatch) == 0
    assert "huge.png is too large (0.09 megapixels); allowed: 0.05 meg" in capsys.readouterr().err
    out = ["--out", str(tmp_path / "again"), "--methods", "random"]
    assert run(["explain", str(photos / "huge.png"), *RANDOM, *out], monkeypatch) == 2
    assert not (tmp_path / "again").exists()
