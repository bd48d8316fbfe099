"""A folder with explained texts: the explanations, one JSON file, one table and one page.

By one method::

    index.html                one page that opens offline and can be sent alone
    pages/1.html              where there are more texts than one page holds
    explanations.json         schema_version, methods, texts with the scores of their words
    words.csv                 a row per text, class and word, with a column per method
    maps/NAME.safetensors     the scores of all tokens, for TextExplanation.load

By several methods, the last is ``maps/NAME/METHOD.safetensors``.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ttame.drawing.word_strength import WordStrength, check_word_strength
from ttame.files.atomic_writing import write_bytes
from ttame.files.record_files import opened_for_text, write_records
from ttame.reporting.file_names import safe_label
from ttame.reporting.method_label import MethodLabel
from ttame.reporting.record_spool import Records
from ttame.reporting.texts.explained_text import ExplainedText
from ttame.reporting.texts.text_page import write_text_pages
from ttame.results.explained_texts import CONTENTS

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
        reading: how texts become tokens: the tokenizer, the longest text, what becomes of longer
            ones.

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
    reading: Mapping[str, str | int] = dataclasses.field(default_factory=dict)

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
            **({"reading": dict(self.reading)} if self.reading else {}),
        }


def write_maps(folder: Path, stem: str, text: ExplainedText) -> dict[str, str]:
    """Write the scores of all tokens of a text.

    Args:
        folder: the folder of the report.
        stem: the stem of the files' names; no other text of the report has it.
        text: with its explanations.

    Returns:
        Method to path of its file within the folder.

    Raises:
        OutputError: the disk is full.
    """
    several = len(text.explanations) > 1
    maps = {
        each.method: f"maps/{stem}/{safe_label(each.method)}.safetensors"
        if several
        else f"maps/{stem}.safetensors"
        for each in text.explanations
    }
    for each in text.explanations:
        # The folder is a new one, or was swept when its run was continued.
        write_bytes(folder / maps[each.method], each.to_bytes(), swept=True)
    return maps


def write_text_contents(
    folder: Path,
    facts: TextReportFacts,
    texts: Records,
    entries: Records,
    tables: Records,
    skipped: Records,
) -> None:
    """Write ``explanations.json``, the table and the pages, one text in memory at a time.

    Args:
        folder: the folder of the report.
        facts: what is the same for all texts.
        texts: one record per text, from ``ExplainedText.record``.
        entries: one record per text, from ``ExplainedText.page_entry``.
        tables: one record per text, whose ``rows`` are those of ``ExplainedText.table_rows``.
        skipped: name, heading and reason of each text that was not explained.
    """
    about = facts.as_json()
    write_records(folder / CONTENTS, about, {"texts": texts, "not_explained": skipped})
    with opened_for_text(folder / "words.csv") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([*TABLE_COLUMNS, *facts.methods])
        for each in tables:
            table.writerows(each["rows"])
    write_text_pages(folder, about, entries, skipped)
