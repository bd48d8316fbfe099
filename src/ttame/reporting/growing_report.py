"""A report that is written batch by batch, by one process or several, and survives a kill.

``result/`` is the report to be, and ``batches/000012.jsonl`` says what batch 12 adds to its page
and ``explanations.json``. It is written whole, after the batch's pictures and maps: a batch that
has such a file is finished, and killing a run loses the batches in flight and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from PIL import Image

from ttame.datasets.name_list import NameList
from ttame.errors import (
    ImageError,
    OutputError,
    setting,
)
from ttame.files.atomic_writing import whole_file
from ttame.files.bounded_reading import UnreadableFileError
from ttame.files.growing_folder import RESULT
from ttame.files.json_files import parse_json
from ttame.files.leftovers import remove
from ttame.files.record_files import opened_for_text
from ttame.reporting.explained_image import skipped_record
from ttame.reporting.file_names import UniqueStems
from ttame.reporting.photo_files import PhotoFiles
from ttame.reporting.report_contents import ReportFacts, write_contents
from ttame.results.explanation import Explanation

_BATCHES = "batches"
_IMAGE, _ENTRY, _SKIPPED = "image", "entry", "skipped"
"""The first word of a line says what its record is for."""

_END = "end"
"""The first word of the last line, before the digest of all others: what was changed or torn
since is not put on a page."""


class GrowingReport:
    """A report in a work folder; what ``explain_batches`` writes to.

    Args:
        place: the work folder, from :func:`ttame.files.growing_folder.growing_folder`.
        names: the names of all photos of the data, by number.
        facts: what is the same for all photos.
    """

    def __init__(self, place: Path, names: NameList, facts: ReportFacts) -> None:
        self._place = place
        self._names = names
        self._facts = facts
        self._files = PhotoFiles(place / RESULT, facts)
        # Of all photos, so that a name depends on nothing but the data.
        stems = UniqueStems()
        self._stems = [stems.take(names[number]) for number in range(len(names))]

    def finished(self) -> set[int]:
        """The batches that are finished."""
        return {int(path.stem) for path in finished_batches(self._place)}

    @contextlib.contextmanager
    def batch(self, number: int) -> Iterator[ReportBatch]:
        """Open a batch; it is finished when the block ends without an error."""
        target = self._place / _BATCHES / f"{number:06d}.jsonl"
        with whole_file(target) as temporary, opened_for_text(temporary) as file:
            batch = ReportBatch(file, self._files, self._names, self._stems)
            yield batch
            batch.end()

    def complete(self) -> None:
        """Join all batches in ``explanations.json`` and the page.

        Raises:
            ImageError: none of the photos was readable.
            OutputError: a batch's file is damaged.
        """
        paths = finished_batches(self._place)
        for path in paths:
            _refuse_damaged(path)
        images = BatchRecords(paths, _IMAGE)
        if not len(images):
            remove(self._place / _BATCHES)  # There is nothing to go on with.
            raise ImageError(
                f"none of the {len(self._names)} photos is readable",
                remedy="JPEG, PNG or WebP files",
            )
        entries, skipped = BatchRecords(paths, _ENTRY), BatchRecords(paths, _SKIPPED)
        write_contents(self._place / RESULT, self._facts, images, entries, skipped)


class ReportBatch:
    """Writes the photos of one batch; see :class:`GrowingReport`."""

    def __init__(
        self, file: TextIO, files: PhotoFiles, names: NameList, stems: Sequence[str]
    ) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._files = files
        self._names = names
        self._stems = stems

    def add(
        self, number: int, photo: Image.Image, explanations: Sequence[Explanation], index: int
    ) -> None:
        """Write everything about photo ``number``, which is image ``index`` of the explanations.

        Raises:
            TtameError: see :meth:`ExplanationReportWriter.add`.
        """
        image = self._files.image(self._names[number], photo, explanations, index)
        record, entry = self._files.write(self._stems[number], image)
        self._write(_IMAGE, record)
        self._write(_ENTRY, entry)

    def skip(self, number: int, reason: str) -> None:
        """Note that photo ``number`` could not be read."""
        self._write(_SKIPPED, skipped_record(self._names[number], reason))

    def end(self) -> None:
        """Note that nothing more comes."""
        self._file.write(f"{_END} {self._digest.hexdigest()}\n")

    def _write(self, kind: str, record: Mapping[str, Any]) -> None:
        line = f"{kind} {json.dumps(record, allow_nan=False)}\n"  # ASCII
        self._digest.update(line.encode())
        self._file.write(line)


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
