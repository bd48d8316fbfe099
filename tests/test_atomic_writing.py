"""Whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from ttame.atomic_writing import (
    refuse_existing,
    whole_file,
    whole_folder,
    write_json,
    write_tensors,
)
from ttame.errors import OutputError


def test_a_failing_block_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ValueError, match="midway"), whole_file(path) as temporary:
        temporary.write_text("new, but half")
        raise ValueError("midway")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_failing_block_leaves_the_old_folder(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "page").write_text("old")
    (folder / "explanations.json").touch()
    with (
        pytest.raises(ValueError, match="midway"),
        whole_folder(folder, overwrite=True) as temporary,
    ):
        (temporary / "page").write_text("half")
        raise ValueError("midway")
    assert (folder / "page").read_text() == "old"
    assert os.listdir(tmp_path) == ["report"]


def test_a_replaced_folder_holds_nothing_of_the_old_one(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "stale").touch()
    (folder / "explanations.json").touch()
    with whole_folder(folder, overwrite=True) as temporary:
        (temporary / "fresh").touch()
    assert os.listdir(folder) == ["fresh"]
    assert os.listdir(tmp_path) == ["report"]


def test_existing_places_are_refused_and_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file is a file"):
        refuse_existing(tmp_path / "file", overwrite=True)
    with pytest.raises(OutputError, match="exists; try: another --out, or --overwrite"):
        refuse_existing(tmp_path, overwrite=False)
    with pytest.raises(OutputError, match="holds 'file' and nothing that ttame wrote"):
        refuse_existing(tmp_path, overwrite=True)
    (tmp_path / "training.jsonl").touch()
    refuse_existing(tmp_path, overwrite=True)
    (tmp_path / "empty").mkdir()
    refuse_existing(tmp_path / "empty", overwrite=False)
    refuse_existing(tmp_path / "nothing", overwrite=False)


def test_a_full_disk_is_an_output_error(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(OutputError, match="disk is full"), whole_file(tmp_path / "a") as temporary:
        temporary.unlink()
        temporary.symlink_to(full)
        temporary.write_text("x" * 10_000)
    assert os.listdir(tmp_path) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        write_json(tmp_path / "file" / "a.json", {})
    with pytest.raises(OutputError, match="cannot write"):
        write_tensors(tmp_path / "file" / "a.safetensors", {"a": torch.zeros(1)})


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"value": float("nan")})
    assert os.listdir(tmp_path) == []
