"""What explaining texts looks like on the terminal."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Set
from pathlib import Path

import typer
from rich.table import Table
from rich.text import Text

from ttame.cli.methods import print_reasons, wide_console
from ttame.drawing.marked_words import writable
from ttame.drawing.word_strength import WordStrength
from ttame.results.explained_texts import ExplainedText, ExplainedTexts
from ttame.results.written_text import lines_of

_MOST_TEXTS = 20
"""Rows of the table on the terminal; the page has them all."""

_MOST_MARKED = 3
"""So few texts are printed with their words marked, instead of a table."""


def summarise_texts(
    found: ExplainedTexts, strength: WordStrength, already_said: Set[str] = frozenset()
) -> Path:
    """Print what was predicted and which words speak for it, and where the page is.

    Args:
        found: what was written.
        strength: the strength of the words.
        already_said: why texts were skipped, as far as that was printed.

    Returns:
        The page.
    """
    console = wide_console()
    for _, reason in found.skipped:
        if reason not in already_said:
            typer.echo(f"skipped: {reason}", err=True)
    if found.explained <= _MOST_MARKED:
        for line in _marked(found, strength):
            # In a file, a line is a line.
            console.print(line, soft_wrap=not console.is_terminal)
    else:
        console.print(_table(found))
        if len(found.methods) > 1:
            console.print(f"the words are those of {writable(found.methods[0])}", style="dim")
    if found.explained > _MOST_TEXTS:
        console.print(f"… and {found.explained - _MOST_TEXTS} more")
    if found.left_out:
        console.print()
        print_reasons(console, dict(found.left_out))
    # Not through rich: a path must not be wrapped or highlighted.
    page = (found.folder / "index.html").resolve()
    typer.echo(f"open {page}")
    return page


def _marked(found: ExplainedTexts, strength: WordStrength) -> Iterator[Text]:
    """Every text by every method, with its words marked."""
    for row in found.rows():
        for method in found.methods:
            heading = f"{row.name}, by {method}" if found.explained > 1 else f"by {method}"
            yield Text(_on_one_line(heading), style="bold")
            yield from lines_of(found.explanation(row, method), 0, strength)
            yield Text("")


def _table(found: ExplainedTexts) -> Table:
    """One row per text: how it begins, what was predicted, and why in a few words."""
    table = Table(box=None, pad_edge=False)
    table.add_column("text", style="bold", no_wrap=True)
    table.add_column("begins")
    table.add_column("prediction")
    table.add_column("strongest words")
    for row in itertools.islice(found.rows(), _MOST_TEXTS):
        table.add_row(
            Text(_on_one_line(row.name)),
            Text(_beginning(row)),
            Text(f"{writable(row.prediction)} {row.probability:.1%}"),
            Text(_strongest(row, found.methods[0])),
        )
    return table


def _beginning(row: ExplainedText) -> str:
    line = _on_one_line(row.text)
    return line if len(line) <= 40 else f"{line[:39]}…"


def _on_one_line(text: str) -> str:
    return re.sub(r"\s+", " ", writable(text)).strip()


def _strongest(row: ExplainedText, method: str) -> str:
    shown = row.classes[0]
    if method in shown.no_evidence:
        return f"{writable(shown.name)}: no evidence"
    words = ", ".join(writable(word) for word, score in shown.strongest[method][:4] if score > 0)
    return f"{writable(shown.name)}: {words}"
