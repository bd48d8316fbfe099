"""What explaining looks like on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from itertools import groupby
from pathlib import Path

import typer
from rich.table import Table

from ttame.cli.methods import print_reasons, wide_console
from ttame.reporting.explained_image import last_part
from ttame.results.explained_photos import ClassProbability, ExplainedPhoto, ExplainedPhotos
from ttame.results.explanation_shards import INDEX, ExplanationShards

_MOST_PHOTOS = 20
"""Rows of the table on the terminal; the page has them all."""

_MOST_REMARKS = 10


def said_of_shards(found: ExplanationShards) -> Path:
    """Print what was explained and where it is; return the page of a few photos."""
    manifest = found.manifest
    skipped = manifest.photos - manifest.explained
    typer.echo(
        f"{manifest.explained:,} photos explained by {', '.join(m.name for m in manifest.methods)}"
        + (f", {skipped:,} skipped (listed in {INDEX})" if skipped else "")
    )
    if manifest.left_out:
        print_reasons(wide_console(), dict(manifest.left_out))
    typer.echo(f"read with ttame.load_explanations({str(found.folder)!r})")
    page = (found.folder / "sample" / "index.html").resolve()
    typer.echo(f"a page of a few of them, evenly spread: open {page}")
    return page


def summarise(found: ExplainedPhotos, already_said: Set[str] = frozenset()) -> Path:
    """Print what was predicted and explained, what is missing, and where the page is.

    Args:
        found: what was written.
        already_said: why photos were skipped, as far as that was printed.

    Returns:
        The page.
    """
    for _, reason in found.skipped:
        if reason not in already_said:
            typer.echo(f"skipped: {reason}", err=True)
    shown: list[ExplainedPhoto] = []
    remarks: list[str] = []
    n_remarks = 0
    for number, photo in enumerate(found.rows()):
        if number < _MOST_PHOTOS:
            shown.append(photo)
        blank = list(_without_evidence(last_part(photo.name), photo))
        n_remarks += len(blank)
        remarks += blank[: _MOST_REMARKS - len(remarks)]
    console = wide_console()
    console.print(_table(shown))
    if found.explained > _MOST_PHOTOS:
        console.print(f"… and {found.explained - _MOST_PHOTOS} more")
    for remark in remarks:
        console.print(f"no evidence: {remark}", style="yellow")
    if n_remarks > len(remarks):
        console.print(f"… and {n_remarks - len(remarks)} more maps without evidence")
    if found.left_out:
        console.print()
        print_reasons(console, dict(found.left_out))
    # Not through rich: a path must not be wrapped or highlighted.
    page = (found.folder / "index.html").resolve()
    typer.echo(f"open {page}")
    return page


def _table(photos: Sequence[ExplainedPhoto]) -> Table:
    """A row per photo; where the first explained class is the prediction, it is said once."""
    same = all(photo.found is None and photo.classes[:1] == (photo.prediction,) for photo in photos)
    table = Table(box=None, pad_edge=False)
    table.add_column("photo", style="bold", overflow="fold")
    if not same:
        table.add_column("prediction")
    table.add_column("prediction and further classes" if same else "explained")
    for photo in photos:
        words = (
            [_in_words(photo.classes)] if same else [_predicted(photo), _in_words(photo.classes)]
        )
        table.add_row(last_part(photo.name), *words)
    return table


def _predicted(photo: ExplainedPhoto) -> str:
    if photo.found is None:
        return _in_words([photo.prediction])
    if photo.found:
        return _in_words(photo.found)
    return f"none of them ({_in_words([photo.prediction])} at most)"


def _in_words(classes: Sequence[ClassProbability]) -> str:
    words = [f"{each.name} {each.probability:.1%}" for each in classes[:5]]
    return ", ".join(words) + (f" and {len(classes) - 5} more" if len(classes) > 5 else "")


def _without_evidence(name: str, photo: ExplainedPhoto) -> Iterator[str]:
    """One remark per method, however many classes it is about."""
    for method, pairs in groupby(photo.no_evidence, key=lambda pair: pair[0]):
        blank = [label for _, label in pairs]
        shown = ", ".join(blank[:3]) + (f" and {len(blank) - 3} more" if blank[3:] else "")
        yield f"{method} in {name} for {shown}"
