"""How far the explaining of many photos is."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ttame.errors import on_command_line
from ttame.processes import joined_in_words
from ttame.progress.durations import duration_in_words
from ttame.progress.progress_line import ProgressLine


class ExplanationProgress:
    """A line with the method, the photos or texts, the method's own steps, and the time left.

    Args:
        methods: in the order in which each batch of photos is explained.
        n_photos: of all batches.
        shown: false in all but the first of several processes.
        what: is explained, a photo or a text.

    Attributes:
        said: why photos could not be read, as far as it was printed.

    Example:
        >>> with ExplanationProgress(["grad_cam"], 4) as progress:
        ...     progress.begin("grad_cam", 1, 2)
        ...     progress.finish()
    """

    def __init__(
        self, methods: Sequence[str], n_photos: int, *, shown: bool = True, what: str = "photo"
    ) -> None:
        self.said: set[str] = set()
        self._noted: set[str] = set()
        self._n_photos = n_photos
        self._what = what
        self._seconds_a_photo: dict[str, float] = {}
        self._left = dict.fromkeys(methods, n_photos)
        self._now = ("", 0, 0.0)
        self._line = ProgressLine(shown=shown)
        self._line.update(total=len(methods) * n_photos)

    def __enter__(self) -> ExplanationProgress:
        self._line.__enter__()
        return self

    def __exit__(self, *problem: object) -> None:
        self._line.__exit__(*problem)

    def start(self, photos: int, finished: int) -> None:
        """This process explains so many photos; some were finished in an earlier run."""
        said = [joined_in_words("the batches")]
        said += [f"{finished} of {photos} {self._what}s were finished before"] if finished else []
        for line in filter(None, said):
            self._line.say(f"note: {line}")
        self._left = dict.fromkeys(self._left, photos - finished)
        self._line.update(total=len(self._left) * photos, done=len(self._left) * finished)

    def begin(self, method: str, first: int, count: int) -> None:
        """A method starts on ``count`` photos; ``first`` counts from 1."""
        self._now = (method, count, time.monotonic())
        one = self._what
        photos = f"{one} {first}" if count == 1 else f"{one}s {first} to {first + count - 1}"
        what = f"{method}: {photos} of {self._n_photos}"
        self._line.update(what=what, remark=self._time_left())

    def step(self, finished: int, total: int) -> None:
        """A method with many passes has finished some of them; ``Explainer.progress``."""
        left = self._time_left(finished / total if total else 0.0)
        self._line.update(remark=f"{finished}/{total} steps {left}".rstrip())

    def finish(self) -> None:
        """The method that began is through with its photos."""
        method, count, began = self._now
        self._left[method] = max(0, self._left[method] - count)
        self._seconds_a_photo[method] = (time.monotonic() - began) / count
        self._advance(count)

    def skip(self, name: str, reason: str) -> None:
        """A photo could not be read, so that no method will explain it."""
        self.said.add(reason)
        self._line.say(f"skipped: {reason}")
        for method in self._left:
            self._left[method] = max(0, self._left[method] - 1)
        self._advance(len(self._left))

    def note(self, text: str) -> None:
        """Something that the user should know of a photo; said once for all that are alike."""
        what = text.rpartition(": ")[2]
        if what not in self._noted:
            self._noted.add(what)
            self._line.say(f"note: {on_command_line(text)}")

    def _advance(self, count: int) -> None:
        self._line.update(done=self._line.state.done + count, remark=self._time_left())

    def _time_left(self, share: float = 0.0) -> str:
        seconds = self.seconds_left(share)
        return "" if seconds is None else f"about {duration_in_words(seconds)} left"

    def seconds_left(self, share: float = 0.0) -> float | None:
        """Seconds until everything is explained; ``None`` while nothing was measured.

        Each method goes on as fast as it was on the photos before. One that has not run yet is
        taken for as slow as the others on average.

        Args:
            share: the share of the current method's steps on the current photos.
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
