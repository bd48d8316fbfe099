"""How far an evaluation is."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ttame.processes import joined_in_words
from ttame.progress.durations import duration_in_words
from ttame.progress.progress_line import ProgressLine


class EvaluationProgress:
    """One line: the method, its photos, its own steps, and the time left for it.

    Args:
        methods: labels, in order.
        what: is measured.
        shown: false in all but the first of several processes.

    Example:
        >>> with EvaluationProgress(["grad_cam"]) as progress:
        ...     progress.begin("grad_cam", images=8, finished=0)
        ...     progress.measured(4)
    """

    def __init__(self, methods: Sequence[str], *, what: str = "photos", shown: bool = True) -> None:
        self._methods = list(methods)
        self._what = what
        self._began = time.monotonic()
        self._finished = 0
        self._line = ProgressLine(shown=shown)

    def __enter__(self) -> EvaluationProgress:
        self._line.__enter__()
        return self

    def __exit__(self, *problem: object) -> None:
        self._line.__exit__(*problem)

    def begin(self, method: str, images: int, finished: int) -> None:
        """A method starts."""
        joined = joined_in_words("the batches")
        if joined and method == self._methods[0]:
            self._line.say(f"note: {joined}")
        place = f"{self._methods.index(method) + 1} of {len(self._methods)}"
        self._began, self._finished = time.monotonic(), 0
        self._line.update(what=f"{method} ({place})", total=images, done=finished)
        self._remark("")

    def step(self, finished: int, total: int) -> None:
        """A method with many passes has finished some of them."""
        self._remark(f"{finished}/{total} steps")

    def measured(self, images: int) -> None:
        """A batch is written."""
        self._finished += images
        state = self._line.state
        rest = (state.total or 0) - state.done - images
        seconds = (time.monotonic() - self._began) / self._finished * rest
        self._line.update(done=state.done + images)
        self._remark(f"about {duration_in_words(seconds)} left for this method")

    def randomising(self, method: str) -> None:
        """The network is randomised under a method."""
        self._line.update(what=f"randomising the network under {method}", remark="")

    def _remark(self, text: str) -> None:
        state = self._line.state
        self._line.update(
            remark=f"{state.done:.0f}/{state.total or 0:.0f} {self._what} {text}".rstrip()
        )
