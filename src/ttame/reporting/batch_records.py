"""What each finished batch adds to a report: a file of JSON lines, whole or not at all.

``batches/000012.jsonl`` of a work folder is written after whatever else batch 12 writes, such as
pictures and maps. A batch that has such a file is finished, and killing a run loses the batches in
flight and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from ttame.errors import OutputError, setting
from ttame.files.atomic_writing import whole_file
from ttame.files.bounded_reading import UnreadableFileError
from ttame.files.json_files import parse_json
from ttame.files.leftovers import remove
from ttame.files.record_files import opened_for_text

_BATCHES = "batches"

_END = "end"
"""The first word of the last line, before the digest of all others: what was changed or torn
since is not put on a page."""


class BatchFile:
    """Takes the records of one batch; made by :func:`batch_file`."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    def write(self, kind: str, record: Mapping[str, Any]) -> None:
        """Write a record.

        Args:
            kind: a word that says what it is for.
            record: may hold anything that JSON has.

        Raises:
            ValueError: the record holds NaN or infinity.
        """
        line = f"{kind} {json.dumps(record, allow_nan=False)}\n"  # ASCII
        self._digest.update(line.encode())
        self._file.write(line)

    def end(self) -> None:
        """Note that nothing more comes."""
        self._file.write(f"{_END} {self._digest.hexdigest()}\n")


@contextlib.contextmanager
def batch_file(place: Path, number: int) -> Iterator[BatchFile]:
    """Open a batch; it is finished when the block ends without an error.

    Args:
        place: the work folder, from :func:`ttame.files.growing_folder.growing_folder`.
        number: the number of the batch.
    """
    target = place / _BATCHES / f"{number:06d}.jsonl"
    # The work folder is a new one, or was swept when its run was continued.
    with whole_file(target, swept=True) as temporary, opened_for_text(temporary) as file:
        batch = BatchFile(file)
        yield batch
        batch.end()


class BatchRecords:
    """The records of one kind in the files of batches, read one by one."""

    def __init__(self, paths: Sequence[Path], kind: str) -> None:
        self._paths = paths
        self._kind = kind

    def __len__(self) -> int:
        return sum(1 for _ in self._lines())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for path, text in self._lines():
            try:
                yield parse_json(text)
            except UnreadableFileError as problem:
                raise _damaged(path, problem) from problem

    def _lines(self) -> Iterator[tuple[Path, str]]:
        for path in self._paths:
            try:
                with path.open(encoding="utf-8") as file:
                    for line in file:
                        kind, _, text = line.partition(" ")
                        if kind == self._kind:
                            yield path, text
            except UnicodeDecodeError as problem:
                raise _damaged(path, problem) from problem


def finished_batches(place: Path) -> list[Path]:
    """The files of the finished batches in a work folder, in order."""
    files = (place / _BATCHES).glob("[0-9]*.jsonl")
    return sorted(
        (path for path in files if re.fullmatch(r"[0-9]{6,9}", path.stem)),
        key=lambda path: int(path.stem),
    )


def numbers_of_finished(place: Path) -> set[int]:
    """The numbers of the finished batches in a work folder."""
    return {int(path.stem) for path in finished_batches(place)}


def undamaged_batches(place: Path) -> list[Path]:
    """The files of the finished batches, each read once and found as it was written.

    Raises:
        OutputError: one is damaged.
    """
    paths = finished_batches(place)
    for path in paths:
        _refuse_damaged(path)
    return paths


def remove_batches(place: Path) -> None:
    """Forget what was finished, where there is nothing to go on with."""
    remove(place / _BATCHES)


def _refuse_damaged(path: Path) -> None:
    digest, last = hashlib.sha256(), b""
    with path.open("rb") as file:
        for line in file:
            digest.update(last)
            last = line
    if last != f"{_END} {digest.hexdigest()}\n".encode():
        raise _damaged(path, "it is not as it was written")


def _damaged(path: Path, problem: Exception | str) -> OutputError:
    return OutputError(
        f"{path} is damaged ({problem})",
        remedy=f"deleting it, then {setting('resume', True)} to explain it again",
    )
