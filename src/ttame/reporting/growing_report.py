"""A report of photos, written batch by batch by one process or several, that survives a kill.

``result/`` is the report to be, and the files of :mod:`ttame.reporting.batch_records` say what each
batch adds to its page and ``explanations.json``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from ttame.datasets.name_list import NameList
from ttame.errors import ImageError
from ttame.files.growing_folder import RESULT
from ttame.reporting.batch_records import (
    BatchFile,
    BatchRecords,
    batch_file,
    numbers_of_finished,
    remove_batches,
    undamaged_batches,
)
from ttame.reporting.explained_image import skipped_record
from ttame.reporting.file_names import UniqueStems
from ttame.reporting.photo_files import PhotoFiles
from ttame.reporting.report_contents import ReportFacts, write_contents
from ttame.results.explanation import Explanation

_IMAGE, _ENTRY, _SKIPPED = "image", "entry", "skipped"
"""What records are for: ``explanations.json``, the page, and both."""


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
        return numbers_of_finished(self._place)

    @contextlib.contextmanager
    def batch(self, number: int) -> Iterator[ReportBatch]:
        """Open a batch; it is finished when the block ends without an error."""
        with batch_file(self._place, number) as file:
            yield ReportBatch(file, self._files, self._names, self._stems)

    def complete(self) -> None:
        """Join all batches in ``explanations.json`` and the page.

        Raises:
            ImageError: none of the photos was readable.
            OutputError: a batch's file is damaged.
        """
        paths = undamaged_batches(self._place)
        images = BatchRecords(paths, _IMAGE)
        if not len(images):
            remove_batches(self._place)
            raise ImageError(
                f"none of the {len(self._names)} photos is readable",
                remedy="JPEG, PNG or WebP files",
            )
        entries, skipped = BatchRecords(paths, _ENTRY), BatchRecords(paths, _SKIPPED)
        write_contents(self._place / RESULT, self._facts, images, entries, skipped)


class ReportBatch:
    """Writes the photos of one batch; see :class:`GrowingReport`."""

    def __init__(
        self, file: BatchFile, files: PhotoFiles, names: NameList, stems: Sequence[str]
    ) -> None:
        self._file = file
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
        self._file.write(_IMAGE, record)
        self._file.write(_ENTRY, entry)

    def skip(self, number: int, reason: str) -> None:
        """Note that photo ``number`` could not be read."""
        self._file.write(_SKIPPED, skipped_record(self._names[number], reason))
