from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from ttame.errors import OutputError
from ttame.files import growing_folder as module
from ttame.files.growing_folder import RESULT, growing_folder, unfinished_folders


def keeps(place: Path) -> bool:
    return (place / "finished").exists()


def write(out: Path, *, fail: bool = False, keep: bool = True, **options: Any) -> None:
    with growing_folder(out, keeps=keeps, **options) as place:
        (place / RESULT / "page").write_text("new")
        if keep:
            (place / "finished").write_text("1")
        if fail:
            raise KeyError("mine")


def stopped(out: Path, **options: Any) -> None:
    with contextlib.suppress(KeyError):
        write(out, fail=True, **options)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_result_alone_gets_the_name(tmp_path: Path) -> None:
    write(tmp_path / "deep" / "out")
    assert names(tmp_path / "deep") == ["out"]
    assert names(tmp_path / "deep" / "out") == ["page"]
    made = tmp_path / "made"
    made.mkdir()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (made, tmp_path / "deep" / "out")}
    assert len(modes) == 1


def test_what_is_worth_it_is_kept_and_gone_on_with(tmp_path: Path) -> None:
    out = tmp_path / "out"
    stopped(out)
    (left,) = unfinished_folders(out, keeps)
    assert not out.exists()
    with growing_folder(out, keeps=keeps, continued=left) as place:
        assert place == left
        assert (place / RESULT / "page").read_text() == "new"
    assert names(tmp_path) == ["out"]
    assert unfinished_folders(out, keeps) == []


def test_what_is_not_worth_it_is_removed(tmp_path: Path) -> None:
    stopped(tmp_path / "out", keep=False)
    assert names(tmp_path) == []


def test_whoever_begins_anew_clears_up(tmp_path: Path) -> None:
    out = tmp_path / "out"
    stopped(out)
    write(out)
    assert names(tmp_path) == ["out"]


def test_the_latest_comes_first(tmp_path: Path) -> None:
    out = tmp_path / "out"
    stopped(out)
    (first,) = unfinished_folders(out, keeps)
    other = tmp_path / ".out.ttame-00000000.part"
    (other / RESULT).mkdir(parents=True)
    (other / "finished").write_text("1")
    os.utime(first, (1, 1))
    assert unfinished_folders(out, keeps) == [other, first]


def test_a_living_run_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with growing_folder(out, keeps=keeps) as place:
        (place / "finished").write_text("1")
        assert unfinished_folders(out, keeps) == []
        with pytest.raises(OutputError, match="another run is writing"):
            write(out, continued=place)
        assert keeps(place)
    assert names(tmp_path) == ["out"]


def test_an_existing_folder_is_replaced_only_when_all_is_done(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "explanations.json").write_text("old")
    with pytest.raises(OutputError, match="exists"):
        write(out)
    stopped(out, overwrite=True)
    assert names(out) == ["explanations.json"]
    write(out, overwrite=True)
    assert names(out) == ["page"]


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "give_name", full)
    with pytest.raises(OutputError, match="the disk is full"):
        write(tmp_path / "out")
    assert len(unfinished_folders(tmp_path / "out", keeps)) == 1
