"""A folder with explained texts: the explanations, one JSON file, one table and one page."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from ttame.drawing.word_strength import WordStrength, check_word_strength
from ttame.files.atomic_writing import whole_folder
from ttame.files.record_files import opened_for_text, write_records
from ttame.reporting.file_names import UniqueStems, safe_label
from ttame.reporting.method_label import MethodLabel
from ttame.reporting.record_spool import RecordSpool
from ttame.reporting.texts.explained_text import ExplainedText
from ttame.reporting.texts.text_page import write_text_pages
from ttame.results.explained_texts import CONTENTS
from ttame.results.prediction import FOUND_FROM
from ttame.results.text_explanation import TextExplanation

SCHEMA_VERSION = 1
"""Of ``explanations.json`` of texts."""

TABLE_COLUMNS = ("text", "class", "probability", "word", "part", "start", "end")
"""Of ``words.csv``, in front of one column of scores per method."""


@dataclasses.dataclass(frozen=True, eq=False)
class TextReportFacts:
    """What is the same for all texts of a report.

    Attributes:
        methods: label to provenance, in order.
        labels: method to how the page calls it.
        title: heads the page.
        left_out: methods that do not take part, to the reason why.
        rather_than: name of the class that all others are compared with, if there is one.
        threshold: the probability from which one of independent findings counts as found; ``None``
            where exactly one class is true of a text.
        strength: the strength of the words, at first on the page.

    Raises:
        UnknownNameError: no such strength.
    """

    methods: Mapping[str, Mapping[str, Any]]
    labels: Mapping[str, MethodLabel]
    title: str = "Explanations"
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)
    rather_than: str | None = None
    threshold: float | None = None
    strength: WordStrength = "own"

    def __post_init__(self) -> None:
        check_word_strength(self.strength)

    def as_json(self) -> dict[str, Any]:
        """What ``explanations.json`` says before it comes to the texts."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "texts",
            "title": self.title,
            "methods": [
                {"name": name, "title": self.labels[name].title, "provenance": dict(provenance)}
                for name, provenance in self.methods.items()
            ],
            "methods_left_out": dict(self.left_out),
            "rather_than": self.rather_than,
            **({} if self.threshold is None else {"threshold": self.threshold}),
            "strength": self.strength,
        }


class TextReport:
    """Writes explained texts one by one; made by :func:`text_report`.

    Args:
        folder: that is going to be the report.
        facts: what is the same for all texts.
        records: for ``explanations.json``.
        entries: for the page.
        skipped: for both.
        table: for ``words.csv``.
    """

    def __init__(
        self,
        folder: Path,
        facts: TextReportFacts,
        records: RecordSpool,
        entries: RecordSpool,
        skipped: RecordSpool,
        table: TextIO,
    ) -> None:
        self._folder, self._facts = folder, facts
        self._records, self._entries, self._skipped = records, entries, skipped
        self._stems = UniqueStems()
        self._table = csv.writer(table, lineterminator="\n")
        self._table.writerow([*TABLE_COLUMNS, *facts.methods])

    def add(self, name: str, explanations: Sequence[TextExplanation], index: int = 0) -> None:
        """Write everything about a text.

        Args:
            name: what the user calls it.
            explanations: one per method, of batches that hold the text, of the same classes.
            index: the index of the text in the batches.

        Raises:
            ExplainerError: the explanations are about different texts or classes.
            OutputError: the disk is full.
        """
        threshold = FOUND_FROM if self._facts.threshold is None else self._facts.threshold
        text = dataclasses.replace(ExplainedText.of(name, explanations, index), threshold=threshold)
        stem = self._stems.take(name)
        several = len(explanations) > 1
        maps = {
            each.method: f"maps/{stem}/{safe_label(each.method)}.safetensors"
            if several
            else f"maps/{stem}.safetensors"
            for each in explanations
        }
        for each in text.explanations:
            each.save(self._folder / maps[each.method])
        self._records.append(text.record(maps))
        self._entries.append(text.page_entry(maps, self._facts.labels))
        self._table.writerows(text.table_rows())

    def skip(self, name: str, reason: str) -> None:
        """Name a text that could not be explained."""
        self._skipped.append({"name": name, "heading": name, "reason": reason})

    @property
    def n_explained(self) -> int:
        """Texts added so far."""
        return len(self._records)

    def complete(self) -> None:
        """Write ``explanations.json`` and the pages."""
        about = self._facts.as_json()
        lists = {"texts": self._records, "not_explained": self._skipped}
        write_records(self._folder / CONTENTS, about, lists)
        write_text_pages(self._folder, about, self._entries, self._skipped)


@contextlib.contextmanager
def text_report(
    folder: Path | str, facts: TextReportFacts, *, overwrite: bool = False
) -> Iterator[TextReport]:
    """Write a report of texts; the folder appears whole when the block succeeds.

    By one method::

        index.html                one page that opens offline and can be sent alone
        pages/1.html              where there are more texts than one page holds
        explanations.json         schema_version, methods, texts with the scores of their words
        words.csv                 a row per text, class and word, with a column per method
        maps/NAME.safetensors     the scores of all tokens, for TextExplanation.load

    By several methods, the last is ``maps/NAME/METHOD.safetensors``. Memory does not grow with the
    number of texts, apart from their names.

    Args:
        folder: where the report goes.
        facts: what is the same for all texts.
        overwrite: replace an existing folder of ttame's, once the new one is complete.

    Raises:
        OutputError: the folder exists and may not be overwritten, or cannot be written.
    """
    with whole_folder(folder, overwrite=overwrite) as temporary, contextlib.ExitStack() as spools:
        records, entries, skipped = (spools.enter_context(RecordSpool(temporary)) for _ in range(3))
        table = spools.enter_context(opened_for_text(temporary / "words.csv"))
        report = TextReport(temporary, facts, records, entries, skipped, table)
        yield report
        report.complete()
