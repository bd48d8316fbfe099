"""Files of strangers: whole, bounded, and never waited for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ttame.files.bounded_reading import (
    UnopenedFileError,
    UnreadableFileError,
    read_bounded,
    read_text,
)


def test_files_up_to_the_limit_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbf12")
    assert read_bounded(tmp_path / "a", 5) == b"\xef\xbb\xbf12"
    assert read_text(tmp_path / "a", 5) == "12"
    with pytest.raises(UnreadableFileError, match="5 bytes, where at most 4 are read"):
        read_bounded(tmp_path / "a", 4)


def test_what_is_not_a_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # without a writer: reading it would wait for ever
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(UnreadableFileError, match="not a regular file"):
            read_bounded(path, 100)
    for name in ("missing", "nul\0byte", "long" * 2000, "surrogate\ud800", ""):
        with pytest.raises(UnopenedFileError):
            read_bounded(tmp_path / name, 100)


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("é".encode("utf-16"))
    with pytest.raises(UnreadableFileError, match="not UTF-8 text at byte 0"):
        read_text(tmp_path / "a", 100)
