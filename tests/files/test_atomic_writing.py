"""Whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ttame.errors import OutputError
from ttame.files import atomic_writing
from ttame.files.atomic_writing import (
    refuse_existing,
    whole_file,
    whole_folder,
    write_json,
    write_tensors,
)


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


REPLACED = """
import os, signal, sys
from pathlib import Path
from ttame.files import atomic_writing
if sys.argv[2] == "renames":
    atomic_writing.exchange = lambda first, second: False
moment = int(sys.argv[3])
def counting(call):
    def counted(*arguments):
        global moment
        if moment == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        moment -= 1
        return call(*arguments)
    return counted
os.replace = counting(os.replace)
atomic_writing.exchange = counting(atomic_writing.exchange)
atomic_writing.remove = counting(atomic_writing.remove)
with atomic_writing.whole_folder(Path(sys.argv[1]) / "report", overwrite=True) as temporary:
    for name in ("page", "explanations.json"):
        (temporary / name).write_text("new")
"""
"""Kills itself before the given step of replacing a folder."""


@pytest.mark.parametrize("way", ["exchange", "renames"])
@pytest.mark.parametrize("moment", range(6))
def test_a_kill_while_replacing_leaves_the_old_or_the_new_folder(
    tmp_path: Path, way: str, moment: int
) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    for name in ("page", "explanations.json", "old"):
        (folder / name).write_text("old")
    command = [sys.executable, "-c", REPLACED, str(tmp_path), way, str(moment)]
    ended = subprocess.run(command, check=False)
    assert ended.returncode in (0, -signal.SIGKILL)
    between = way == "renames" and moment == 2
    assert folder.exists() != between
    with pytest.raises(OutputError, match="exists"):
        refuse_existing(folder, overwrite=False)  # whatever looks there puts it back
    found = (folder / "page").read_text()
    assert (folder / "explanations.json").read_text() == found
    assert (folder / "old").exists() == (found == "old")
    with whole_folder(folder, overwrite=True) as temporary:
        (temporary / "fresh").touch()
    assert os.listdir(tmp_path) == ["report"]


def test_an_interrupt_between_two_renames_puts_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "explanations.json").touch()
    replace = os.replace

    def interrupted(source: Path, target: Path) -> None:
        if source.name.endswith(".part"):
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(atomic_writing, "exchange", lambda *_: False)
    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), whole_folder(folder, overwrite=True):
        pass
    assert os.listdir(tmp_path) == ["report"]
    assert os.listdir(folder) == ["explanations.json"]


def test_a_folder_that_somebody_made_meanwhile_stays(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    with pytest.raises(OutputError, match="exists"), whole_folder(folder):
        folder.mkdir()
        (folder / "thesis.tex").write_text("mine")
    assert os.listdir(folder) == ["thesis.tex"]
    with (
        pytest.raises(OutputError, match="nothing that ttame wrote"),
        whole_folder(folder.with_name("other"), overwrite=True),
    ):
        folder.rename(folder.with_name("other"))
    assert os.listdir(tmp_path) == ["other"]


def test_behind_a_link_the_folder_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    (real / "explanations.json").touch()
    link.symlink_to(real)
    with whole_folder(link, overwrite=True) as temporary:
        (temporary / "fresh").touch()
    assert link.is_symlink() and os.listdir(real) == ["fresh"]
    assert sorted(os.listdir(tmp_path)) == ["link", "real"]


def test_existing_places_are_refused_and_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file is a file"):
        refuse_existing(tmp_path / "file", overwrite=True)
    for overwrite in (False, True):  # Not offered where it would be refused.
        with pytest.raises(OutputError, match="holds 'file' and nothing that ttame wrote") as found:
            refuse_existing(tmp_path, overwrite=overwrite)
        assert "overwrite" not in str(found.value)
    (tmp_path / "training.jsonl").touch()
    with pytest.raises(OutputError, match="exists; try: another folder, or overwrite=True"):
        refuse_existing(tmp_path, overwrite=False)
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
