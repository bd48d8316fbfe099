"""Who is told how far an evaluation is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from ttame.evaluation.measuring import Listener
from ttame.processes import is_first_process
from ttame.progress.evaluation_progress import EvaluationProgress
from ttame.progress.progress_line import nothing_shown


class Silence:
    """A listener that says nothing."""

    def begin(self, method: str, images: int, finished: int) -> None:
        """Nothing."""

    def step(self, finished: int, total: int) -> None:
        """Nothing."""

    def measured(self, images: int) -> None:
        """Nothing."""

    def randomising(self, method: str) -> None:
        """Nothing."""


@contextlib.contextmanager
def told(
    listener: Listener | None, methods: Iterable[str], progress: bool, what: str = "photos"
) -> Iterator[Listener]:
    """The given listener; or a line of progress, or nobody."""
    if listener is None and progress:
        with EvaluationProgress(list(methods), what=what, shown=is_first_process()) as line:
            yield line
    else:
        with nothing_shown():
            yield listener or Silence()
