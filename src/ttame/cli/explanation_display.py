"""What explaining looks like on the terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from ttame.cli.durations import duration_in_words
from ttame.cli.methods import print_reasons, wide_console

_MOST_PHOTOS = 20
"""Rows of the table on the terminal; the page has them all."""

_MOST_REMARKS = 10


class ExplanationProgress:
    """A line with the method, the photos, the method's own steps, and the time left.

    Args:
        methods: in the order in which each batch of photos is explained.
        n_photos: of all batches.
    """

    def __init__(self, methods: Sequence[str], n_photos: int) -> None:
        self._n_photos = n_photos
        self._seconds_a_photo: dict[str, float] = {}
        self._left = dict.fromkeys(methods, n_photos)
        self._now = ("", 0, 0.0)
        # On the error stream, and gone when it ends: what is printed can be piped on.
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[steps]}"),
            TextColumn("{task.fields[left]}"),
            console=Console(stderr=True),
            transient=True,
        )
        total = len(methods) * n_photos
        self._task = self._progress.add_task("loading", total=total, steps="", left="")

    def __enter__(self) -> ExplanationProgress:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def begin(self, method: str, first: int, count: int) -> None:
        """A method starts on ``count`` photos; ``first`` counts from 1."""
        self._now = (method, count, time.monotonic())
        photos = f"photo {first}" if count == 1 else f"photos {first} to {first + count - 1}"
        self._progress.update(
            self._task,
            description=f"{method}: {photos} of {self._n_photos}",
            steps="",
            left=self._time_left(),
        )

    def step(self, finished: int, total: int) -> None:
        """A method with many passes has finished some of them; ``Explainer.progress``."""
        share = finished / total if total else 0.0
        self._progress.update(
            self._task, steps=f"{finished}/{total} steps", left=self._time_left(share)
        )

    def finish(self) -> None:
        """The method that began is through with its photos."""
        method, count, began = self._now
        self._left[method] = max(0, self._left[method] - count)
        self._seconds_a_photo[method] = (time.monotonic() - began) / count
        self._progress.update(self._task, advance=count, left=self._time_left())

    def skip(self, count: int) -> None:
        """Some photos could not be read, so that no method will explain them."""
        for method in self._left:
            self._left[method] = max(0, self._left[method] - count)
        self._progress.update(self._task, advance=count * len(self._left))

    def _time_left(self, share: float = 0.0) -> str:
        seconds = self.seconds_left(share)
        return "" if seconds is None else f"about {duration_in_words(seconds)} left"

    def seconds_left(self, share: float = 0.0) -> float | None:
        """Seconds until everything is explained; ``None`` while nothing was measured.

        Each method goes on as fast as it was on the photos before. One that has not run yet is
        taken for as slow as the others on average.

        Args:
            share: of the current method's steps on the current photos.
        """
        method, count, began = self._now
        rates = dict(self._seconds_a_photo)
        elapsed = time.monotonic() - began
        if method and method not in rates and share > 0:
            rates[method] = elapsed / share / count
        if not rates:
            return None
        usual = sum(rates.values()) / len(rates)
        return sum(rates.get(name, usual) * left for name, left in self._left.items()) - (
            rates.get(method, usual) * count * share if self._left.get(method) else 0.0
        )


def summarise(
    rows: Sequence[tuple[str, str, str]],
    no_evidence: Sequence[str],
    left_out: dict[str, str],
    out: Path,
) -> None:
    """Print what was predicted and explained, what is missing, and where the page is.

    Args:
        rows: (photo, prediction, explained classes).
        no_evidence: one remark for each map that points nowhere.
        left_out: method to the reason why it did not take part.
        out: the report's folder.
    """
    table = Table(box=None, pad_edge=False)
    table.add_column("photo", style="bold", overflow="fold")
    table.add_column("prediction")
    table.add_column("explained")
    for row in rows[:_MOST_PHOTOS]:
        table.add_row(*row)
    console = wide_console()
    console.print(table)
    if len(rows) > _MOST_PHOTOS:
        console.print(f"… and {len(rows) - _MOST_PHOTOS} more")
    for remark in no_evidence[:_MOST_REMARKS]:
        console.print(f"no evidence: {remark}", style="yellow")
    if len(no_evidence) > _MOST_REMARKS:
        console.print(f"… and {len(no_evidence) - _MOST_REMARKS} more maps without evidence")
    if left_out:
        console.print()
        print_reasons(console, left_out)
    # Not through rich: a path must not be wrapped or highlighted.
    typer.echo(f"open {(out / 'index.html').resolve()}")
