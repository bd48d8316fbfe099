"""A report of texts, written batch by batch by one process or several, that survives a kill.

``result/`` is the report to be, and the files of :mod:`ttame.reporting.batch_records` say what each
batch adds to its page, its table and ``explanations.json``.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from ttame.errors import TextError
from ttame.files.growing_folder import RESULT
from ttame.reporting.batch_records import (
    BatchFile,
    BatchRecords,
    batch_file,
    numbers_of_finished,
    remove_batches,
    undamaged_batches,
)
from ttame.reporting.file_names import UniqueStems
from ttame.reporting.texts.explained_text import ExplainedText
from ttame.reporting.texts.text_report import TextReportFacts, write_maps, write_text_contents
from ttame.results.prediction import FOUND_FROM
from ttame.results.text_explanation import TextExplanation

_TEXT, _ENTRY, _TABLE, _SKIPPED = "text", "entry", "table", "skipped"
"""What records are for: ``explanations.json``, the page, ``words.csv``; the last for the first two.
"""


class GrowingTextReport:
    """A report in a work folder; what ``explain_text_batches`` writes to.

    Args:
        place: the work folder, from :func:`ttame.files.growing_folder.growing_folder`.
        names: the names of all texts, by number.
        facts: what is the same for all texts.
    """

    def __init__(self, place: Path, names: Sequence[str], facts: TextReportFacts) -> None:
        self._place = place
        self._names = names
        self._facts = facts
        # Of all texts, so that a name depends on nothing but the data.
        stems = UniqueStems()
        self._stems = [stems.take(name) for name in names]

    def finished(self) -> set[int]:
        """The batches that are finished."""
        return numbers_of_finished(self._place)

    @contextlib.contextmanager
    def batch(self, number: int) -> Iterator[TextReportBatch]:
        """Open a batch; it is finished when the block ends without an error."""
        with batch_file(self._place, number) as file:
            yield TextReportBatch(file, self._place / RESULT, self._facts, self._names, self._stems)

    def complete(self) -> None:
        """Join all batches in ``explanations.json``, the table and the pages.

        Raises:
            TextError: none of the texts could be explained.
            OutputError: a batch's file is damaged.
        """
        paths = undamaged_batches(self._place)
        texts, entries, tables, skipped = (
            BatchRecords(paths, kind) for kind in (_TEXT, _ENTRY, _TABLE, _SKIPPED)
        )
        if not len(texts):
            remove_batches(self._place)
            raise TextError(
                f"none of the {len(self._names)} texts can be explained",
                allowed="texts that the classifier takes",
            )
        write_text_contents(self._place / RESULT, self._facts, texts, entries, tables, skipped)


class TextReportBatch:
    """Writes the texts of one batch; see :class:`GrowingTextReport`."""

    def __init__(
        self,
        file: BatchFile,
        folder: Path,
        facts: TextReportFacts,
        names: Sequence[str],
        stems: Sequence[str],
    ) -> None:
        self._file = file
        self._folder = folder
        self._facts = facts
        self._names = names
        self._stems = stems

    def add(self, number: int, explanations: Sequence[TextExplanation], index: int) -> None:
        """Write everything about a text.

        Args:
            number: the number of the text.
            explanations: one per method, of batches that hold the text, of the same classes.
            index: the index of the text in the batches.

        Raises:
            ExplainerError: the explanations are about different texts or classes.
            OutputError: the disk is full.
        """
        threshold = FOUND_FROM if self._facts.threshold is None else self._facts.threshold
        text = ExplainedText.of(self._names[number], explanations, index)
        text = dataclasses.replace(text, threshold=threshold)
        maps = write_maps(self._folder, self._stems[number], text)
        self._file.write(_TEXT, text.record(maps))
        self._file.write(_ENTRY, text.page_entry(maps, self._facts.labels))
        self._file.write(_TABLE, {"rows": [*text.table_rows()]})

    def skip(self, number: int, reason: str) -> None:
        """Note that a text could not be explained."""
        name = self._names[number]
        self._file.write(_SKIPPED, {"name": name, "heading": name, "reason": reason})
