from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from ttame.errors import OutputError
from ttame.files.sole_use import FolderUse, sole_use

REFUSED = "another run is writing .*out; try: waiting for it, or another folder"


def hold(out: Path, told: Connection) -> None:
    """In a process of its own, until it is killed."""
    with FolderUse(out / "folder") as use, sole_use(out / "name"):
        use.take()
        told.send("mine")
        told.recv()


def test_a_folder_is_used_by_one_run_at_a_time(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with FolderUse(out) as use:
        use.take()  # There is nothing to have yet.
        out.mkdir()
        use.take()
        use.take()
        link = tmp_path / "other-out"
        link.symlink_to(out)
        for place in (out, link):
            with FolderUse(place) as other, pytest.raises(OutputError, match=REFUSED):
                other.take()
    with FolderUse(out) as other:
        other.take()
    assert list(out.iterdir()) == []


def test_a_name_is_taken_by_one_run_at_a_time(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with sole_use(out):
        (left,) = tmp_path.iterdir()
        assert left.name == ".out.ttame-occupied.part"
        with pytest.raises(OutputError, match=REFUSED), sole_use(out):
            raise AssertionError("it is taken")
        with sole_use(tmp_path / "another"):
            pass
        assert list(tmp_path.iterdir()) == [left]
    assert list(tmp_path.iterdir()) == []


def test_a_killed_run_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    mine, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=hold, args=(tmp_path, theirs))
    process.start()
    try:
        assert mine.poll(60) and mine.recv() == "mine"
        with FolderUse(tmp_path / "folder") as use, pytest.raises(OutputError, match="another run"):
            use.take()
        with pytest.raises(OutputError, match="another run"), sole_use(tmp_path / "name"):
            raise AssertionError("it is taken")
    finally:
        process.kill()
        process.join()
    with FolderUse(tmp_path / "folder") as use, sole_use(tmp_path / "name"):
        use.take()
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_processes_that_a_run_has_forked_do_not_hold_what_it_held(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with FolderUse(out) as use, sole_use(tmp_path / "name"):
        use.take()
        told, tell = os.pipe()
        child = os.fork()
        if not child:
            signal.alarm(60)
            os.write(tell, b"!")
            signal.pause()
        os.read(told, 1)
    try:
        with FolderUse(out) as use, sole_use(tmp_path / "name"):
            use.take()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
