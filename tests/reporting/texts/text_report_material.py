"""Reports of explanations that were made by hand."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from ttame.files.growing_folder import RESULT, growing_folder
from ttame.reporting.texts.growing_text_report import GrowingTextReport
from ttame.reporting.texts.text_report import TextReportFacts
from ttame.results.text_explanation import TextExplanation


class Given:
    """Texts to be written, in order."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.explanations: dict[int, tuple[Sequence[TextExplanation], int]] = {}
        self.skipped: dict[int, str] = {}

    def add(self, name: str, explanations: Sequence[TextExplanation], index: int = 0) -> None:
        self.explanations[len(self.names)] = (explanations, index)
        self.names.append(name)

    def skip(self, name: str, reason: str) -> None:
        self.skipped[len(self.names)] = reason
        self.names.append(name)


@contextlib.contextmanager
def text_report(
    folder: Path, facts: TextReportFacts, *, overwrite: bool = False
) -> Iterator[Given]:
    """A report in one batch, of whatever is given to it."""
    with growing_folder(folder, keeps=lambda place: False, overwrite=overwrite) as place:
        given = Given()
        yield given
        assert (place / RESULT).is_dir()
        report = GrowingTextReport(place, given.names, facts)
        with report.batch(0) as batch:
            for number in range(len(given.names)):
                if number in given.skipped:
                    batch.skip(number, given.skipped[number])
                else:
                    batch.add(number, *given.explanations[number])
        report.complete()
