"""Two names at once, or none."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import types
from pathlib import Path

import pytest

from ttame.files.folder_exchange import exchange


def folders(place: Path) -> tuple[Path, Path]:
    for name in "ab":
        (place / name).mkdir()
        (place / name / name).touch()
    return place / "a", place / "b"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges")
def test_two_folders_change_names(tmp_path: Path) -> None:
    first, second = folders(tmp_path)
    if not exchange(first, second):
        pytest.skip("not on this file system")
    assert os.listdir(first) == ["b"] and os.listdir(second) == ["a"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges")
def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    first, _ = folders(tmp_path)
    with pytest.raises(FileNotFoundError):
        exchange(first, tmp_path / "c")
    assert os.listdir(first) == ["a"]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL])
def test_a_file_system_that_cannot_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    library = types.SimpleNamespace(renameat2=_Function(number))
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: library)
    first, second = folders(tmp_path)
    assert not exchange(first, second)
    assert os.listdir(first) == ["a"]


class _Function:
    """A C function that always fails."""

    argtypes: object = None

    def __init__(self, number: int) -> None:
        self._number = number

    def __call__(self, *_: object) -> int:
        ctypes.set_errno(self._number)
        return -1
