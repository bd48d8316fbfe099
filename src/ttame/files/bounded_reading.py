"""Reading files of strangers whole, but never more than fits into memory."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class UnreadableFileError(ValueError):
    """Why a file cannot be used: one line without the file's name, which the caller knows."""


class UnopenedFileError(UnreadableFileError):
    """The operating system did not open or read the file: none is there, or it is private."""


def read_bounded(path: Path | str, largest: int) -> bytes:
    """Read a whole file.

    Args:
        path: the path of a regular file. Devices and pipes are refused: they may never end.
        largest: how many bytes it may have.

    Raises:
        UnopenedFileError: it is missing, or may not be read.
        UnreadableFileError: it is not a regular file, or larger.

    Example:
        >>> read_bounded("/dev/zero", 10)
        Traceback (most recent call last):
        ttame.files.bounded_reading.UnreadableFileError: not a regular file
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise UnreadableFileError("not a regular file")
            if found.st_size > largest:
                raise UnreadableFileError(
                    f"{found.st_size} bytes, where at most {largest} are read"
                )
            # As much as is asked for is taken from memory at once.
            return file.read(found.st_size)
    except OSError as problem:
        raise UnopenedFileError(problem.strerror or str(problem)) from problem
    except MemoryError as problem:
        raise UnreadableFileError("not enough memory") from problem
    except ValueError as problem:  # a path with a NUL, or one that no file system can have
        if isinstance(problem, UnreadableFileError):
            raise
        raise UnopenedFileError(str(problem)) from problem


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for the other end of a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_text(path: Path | str, largest: int) -> str:
    """Read a whole UTF-8 file; a byte order mark, as editors on Windows write it, is dropped.

    Args:
        path: the path of a regular file.
        largest: how many bytes it may have.

    Raises:
        UnreadableFileError: see :func:`read_bounded`; or it is not UTF-8.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "a.txt").write_bytes("\\ufeffé".encode())
        ...     read_text(Path(folder) / "a.txt", largest=100)
        'é'
    """
    return decode(read_bounded(path, largest))


def decode(content: bytes) -> str:
    """UTF-8 bytes as text, without a byte order mark.

    Raises:
        UnreadableFileError: they are not UTF-8.

    Example:
        >>> decode(b"caf\\xe9")
        Traceback (most recent call last):
        ttame.files.bounded_reading.UnreadableFileError: not UTF-8 text at byte 3
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise UnreadableFileError(f"not UTF-8 text at byte {problem.start}") from problem
