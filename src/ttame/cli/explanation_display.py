"""What explaining looks like on the terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence, Set
from itertools import groupby
from types import TracebackType

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from ttame.cli.durations import duration_in_words
from ttame.cli.methods import print_reasons, wide_console
from ttame.reporting.explained_image import last_part
from ttame.results.explained_photos import ClassProbability, ExplainedPhoto, ExplainedPhotos

_MOST_PHOTOS = 20
"""Rows of the table on the terminal; the page has them all."""

_MOST_REMARKS = 10


class ExplanationProgress:
    """A line with the method, the photos, the method's own steps, and the time left.

    Args:
        methods: in the order in which each batch of photos is explained.
        n_photos: of all batches.
        shown: false in all but the first of several processes.

    Attributes:
        said: why photos could not be read, as far as it was printed.
    """

    def __init__(self, methods: Sequence[str], n_photos: int, *, shown: bool = True) -> None:
        self.said: set[str] = set()
        self._noted: set[str] = set()
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
            disable=not shown,
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

    def start(self, photos: int, finished: int) -> None:
        """This process explains so many photos; some were finished in an earlier run."""
        from ttame.processes import joined_in_words

        said = [joined_in_words("the batches")]
        said += [f"{finished} of {photos} photos were finished before"] if finished else []
        for line in filter(None, said):
            self._say(f"note: {line}")
        self._left = dict.fromkeys(self._left, photos - finished)
        total = len(self._left) * photos
        self._progress.update(self._task, total=total, completed=len(self._left) * finished)

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

    def skip(self, name: str, reason: str) -> None:
        """A photo could not be read, so that no method will explain it."""
        self.said.add(reason)
        self._say(f"skipped: {reason}")
        for method in self._left:
            self._left[method] = max(0, self._left[method] - 1)
        self._progress.update(self._task, advance=len(self._left))

    def note(self, text: str) -> None:
        """Something that the user should know of a photo; said once for all that are alike."""
        what = text.rpartition(": ")[2]
        if what not in self._noted:
            self._noted.add(what)
            self._say(f"note: {text}")

    def _say(self, line: str) -> None:
        """Print a line above the bar, in the first process only."""
        if not self._progress.disable:
            self._progress.console.print(line, highlight=False, markup=False, soft_wrap=True)

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


def summarise(found: ExplainedPhotos, already_said: Set[str] = frozenset()) -> None:
    """Print what was predicted and explained, what is missing, and where the page is.

    Args:
        found: what was written.
        already_said: why photos were skipped, as far as that was printed.
    """
    for _, reason in found.skipped:
        if reason not in already_said:
            typer.echo(f"skipped: {reason}", err=True)
    table = Table(box=None, pad_edge=False)
    table.add_column("photo", style="bold", overflow="fold")
    table.add_column("prediction")
    table.add_column("explained")
    remarks: list[str] = []
    n_remarks = 0
    for number, photo in enumerate(found.rows()):
        name = last_part(photo.name)
        if number < _MOST_PHOTOS:
            table.add_row(name, _predicted(photo), _in_words(photo.classes))
        blank = list(_without_evidence(name, photo))
        n_remarks += len(blank)
        remarks += blank[: _MOST_REMARKS - len(remarks)]
    console = wide_console()
    console.print(table)
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
    typer.echo(f"open {(found.folder / 'index.html').resolve()}")


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
