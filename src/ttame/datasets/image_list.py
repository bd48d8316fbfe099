"""Photos named by a list file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ttame.datasets.name_list import NameList
from ttame.datasets.photo_source import PhotoSource
from ttame.errors import DatasetError
from ttame.files.bounded_reading import UnopenedFileError, UnreadableFileError, read_bounded
from ttame.files.printable_names import printable
from ttame.images.band_photo import Picture
from ttame.images.picture_files import read_picture

_LARGEST_FILE = 2 * 2**30
_NO_LABEL = -1
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")  # what fits into an int64


class ImageList(PhotoSource):
    """The photos that a text file names, ``path`` or ``path label`` a line, in the file's order.

    Relative paths start at the folder of the list file. Paths may contain spaces: a line's last
    word is its label if it is a number, unless the whole line is the path of a file and the part
    before the number is not. Blank lines and lines that start with ``#`` are skipped.

    Args:
        path: the list file, UTF-8; names in other bytes work as they are.

    Raises:
        DatasetError: the file cannot be read as text, names no photo, or has a line whose file
            does not exist or whose label is negative; the message says which line.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (8, 8)).save(Path(folder) / "my cat.png")
        ...     _ = (Path(folder) / "list.txt").write_text("my cat.png 281")
        ...     photos = ImageList(Path(folder) / "list.txt")
        ...     photos.key(0), photos.label(0)
        ('my cat.png', 281)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        entries = [_entry(self.path, number, line) for number, line in _lines(self.path)]
        if not entries:
            raise DatasetError(
                f"list file {self.path} names no photos",
                allowed="a line of 'path' or 'path label' for each photo",
            )
        self._names = NameList(name for name, _ in entries)
        self._labels = np.array([label for _, label in entries], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._names)

    def key(self, index: int) -> str:
        """The path as the list gives it."""
        return self._names[index]

    def name(self, index: int) -> str:
        """The path of the file."""
        return printable(self.location(index))

    def location(self, index: int) -> str:
        """The path of the file, byte by byte."""
        return str(self.path.parent / self._names[index])

    def read(self, index: int) -> Picture:
        """See :meth:`PhotoSource.read`."""
        return read_picture(self.path.parent / self._names[index], name=self.name(index))

    def label(self, index: int) -> int | None:
        """The number behind the path, if the line has one."""
        label = int(self._labels[index])
        return None if label == _NO_LABEL else label


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number, line) for each line that should name a photo."""
    try:
        # utf-8-sig: editors on Windows put a byte order mark in front. Names may be any bytes.
        text = read_bounded(path, _LARGEST_FILE).decode("utf-8-sig", errors="surrogateescape")
    except UnopenedFileError as problem:
        raise DatasetError(f"cannot read list file {path} ({problem})") from problem
    except UnreadableFileError as problem:
        raise DatasetError(
            f"{path} is not a list file ({problem})",
            allowed="a text file of 'path' or 'path label' lines",
        ) from problem
    # Not splitlines(): a form feed or U+2028 may be part of a file name.
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.strip()
        if line and not line.startswith("#"):
            yield number, line


def _entry(path: Path, number: int, line: str) -> tuple[str, int]:
    """(path, label) of one line of a list file."""
    try:
        return _parse(line, f"{path} line {number}", path.parent)
    except DatasetError as problem:
        if line == printable(line):
            raise
        # A name in other bytes is fine; a line of them that names nothing is not text.
        raise DatasetError(
            f"{path} is not a list file (line {number} is not UTF-8 text, and no file's name)",
            allowed="a text file of 'path' or 'path label' lines",
        ) from problem


def _parse(line: str, where: str, folder: Path) -> tuple[str, int]:
    """(path, label) of one line; the label is ``_NO_LABEL`` if there is none."""
    before, last = ("", *line.rsplit(maxsplit=1))[-2:]
    if before and _NUMBER.fullmatch(last):
        if _is_file(folder / before):
            if last.startswith("-"):
                raise _no_label(where, last)
            return before, int(last)
        if not _is_file(folder / line):
            raise _no_file(where, folder / before)
    if _is_file(folder / line):
        return line, _NO_LABEL
    if before and _is_file(folder / before):
        raise _no_label(where, last)
    raise _no_file(where, folder / line)


def _is_file(path: Path) -> bool:
    """Whether ``path`` is a file; lines that cannot be a path at all (too long, NUL) are none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _no_file(where: str, path: Path) -> DatasetError:
    shown = str(path) if len(str(path)) <= 200 else f"{str(path)[:200]}…"
    return DatasetError(
        f"{where}: {shown!r} is not a file",
        allowed="'path' or 'path label', the path absolute or relative to the list file",
    )


def _no_label(where: str, word: str) -> DatasetError:
    return DatasetError(f"{where}: label {word!r}", allowed="a class number from 0 on")
