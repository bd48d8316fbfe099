"""Killed runs leave nothing for long; living ones lose nothing."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ttame.files import leftovers
from ttame.files.leftovers import (
    claim_existing,
    claim_file,
    claim_folder,
    is_temporary,
    leftovers_of,
    put_back,
    remove_leftovers,
    remove_leftovers_below,
    retired_name,
)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("claim", [claim_file, claim_folder])
def test_what_is_being_written_stays_and_what_was_is_removed(tmp_path: Path, claim) -> None:  # type: ignore[no-untyped-def]
    living = claim(tmp_path / "a")
    remove_leftovers(tmp_path / "a")
    remove_leftovers_below(tmp_path)
    assert leftovers_of(tmp_path / "a") == [living.path]
    living.release()
    if living.path.is_dir():
        (living.path / "inner").mkdir()
        (living.path / "inner" / "page").touch()
    remove_leftovers(tmp_path / "a")
    assert names(tmp_path) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from ttame.files import atomic_writing
place = Path(sys.argv[1])
with atomic_writing.{kind}(place / "a") as temporary:
    ({inner}).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("kind", "inner"), [("whole_file", "temporary"), ("whole_folder", 'temporary / "page"')]
)
def test_a_kill_releases_the_lock(tmp_path: Path, kind: str, inner: str) -> None:
    script = KILLED.format(kind=kind, inner=inner)
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(leftovers_of(tmp_path / "a")) == len(names(tmp_path)) == 1
    remove_leftovers(tmp_path / "a")
    assert names(tmp_path) == []


def test_only_names_of_ours_and_of_the_target_are_removed(tmp_path: Path) -> None:
    kept = [
        ".a.12345678.part",
        ".a.ttame-1234567.part",
        ".a.ttame-12345678.part.txt",
        ".ab.ttame-12345678.part",
        "a.ttame-12345678.part",
        ".a.b.ttame-12345678.part",
    ]
    for name in kept:
        (tmp_path / name).touch()
    (tmp_path / ".a.ttame-12345678.part").touch()
    remove_leftovers(tmp_path / "a")
    assert names(tmp_path) == sorted(kept)
    of_some_target = [name for name in kept if is_temporary(tmp_path / name)]
    assert of_some_target == [".ab.ttame-12345678.part", ".a.b.ttame-12345678.part"]


def test_below_a_folder_every_target_counts_and_links_are_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / ".c.ttame-00000000.part").mkdir(parents=True)
    out = tmp_path / "out"
    (out / "rows" / "rise" / ".0001.parquet.ttame-00000000.part").mkdir(parents=True)
    (out / "rows" / "rise" / "0000.parquet").touch()
    (out / ".results.json.ttame-0a1b2c3d.part").touch()
    (out / "linked").symlink_to(elsewhere)
    remove_leftovers_below(out)
    assert names(out) == ["linked", "rows"]
    assert names(out / "rows" / "rise") == ["0000.parquet"]
    assert names(elsewhere) == [".c.ttame-00000000.part"]


def test_a_link_with_such_a_name_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis").touch()
    (tmp_path / ".a.ttame-12345678.part").symlink_to(tmp_path / "mine")
    remove_leftovers(tmp_path / "a")
    assert (tmp_path / "mine" / "thesis").exists()


def test_without_locks_only_what_is_a_week_old_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(leftovers.fcntl, "flock", refuse)
    claim = claim_folder(tmp_path / "a")
    inner = claim.path / "page"
    inner.touch()
    old = inner.stat().st_mtime - 8 * 24 * 3600
    os.utime(claim.path, (old, old))
    remove_leftovers(tmp_path / "a")
    assert claim.path.exists()  # something in it is new
    os.utime(inner, (old, old))
    os.utime(claim.path, (old, old))
    remove_leftovers(tmp_path / "a")
    assert names(tmp_path) == []


def test_a_retired_result_gets_its_name_back_unless_a_living_run_replaces_it(
    tmp_path: Path,
) -> None:
    target = tmp_path / "report"
    target.mkdir()
    (target / "page").touch()
    living = claim_existing(target)
    target.rename(retired_name(target))
    put_back(target)
    assert not target.exists()
    living.release()
    put_back(target)
    assert names(tmp_path) == ["report"] and names(target) == ["page"]


def test_a_retired_result_goes_once_the_new_one_is_there(tmp_path: Path) -> None:
    target = tmp_path / "report"
    retired_name(target).mkdir()
    target.mkdir()
    (target / "new").touch()
    remove_leftovers(target)
    assert names(tmp_path) == ["report"] and names(target) == ["new"]


@pytest.mark.parametrize(
    "name", [b"a" * 255, b"caf\xe9" * 60, "ä".encode() * 127, b'-x\n"<b>', b".", b"caf\xe9"]
)
def test_names_of_any_length_and_bytes(tmp_path: Path, name: bytes) -> None:
    target = tmp_path / os.fsdecode(name)
    claim = claim_file(target)
    assert leftovers_of(target) == [claim.path]
    claim.release()
    remove_leftovers(target)
    assert names(tmp_path) == []


def test_long_names_that_begin_alike_stay_apart(tmp_path: Path) -> None:
    claim = claim_file(tmp_path / ("a" * 254 + "b"))
    claim.release()
    assert leftovers_of(tmp_path / ("a" * 254 + "c")) == []


def test_a_file_that_is_removed_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = leftovers._lock
    removed: list[Path] = []

    def remove_first(handle: int) -> bool | None:
        if not removed:
            removed.extend(tmp_path.iterdir())
            removed[0].unlink()
        return lock(handle)

    monkeypatch.setattr(leftovers, "_lock", remove_first)
    claim = claim_file(tmp_path / "a")
    assert claim.path.exists() and claim.path != removed[0]
    claim.release()
