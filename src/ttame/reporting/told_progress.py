"""Who is told how far explaining is: a listener, or a line that is shown."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from ttame.explaining.explained_batch import Listener
from ttame.processes import is_first_process
from ttame.progress.explaining_progress import ExplanationProgress
from ttame.progress.progress_line import nothing_shown


@contextlib.contextmanager
def telling_of(
    listener: Listener | None, methods: Sequence[str], count: int, progress: bool, what: str
) -> Iterator[Listener | None]:
    """Whoever is told how far it is: the listener, or if there is none and it is wanted, a line.

    Args:
        listener: the caller's own.
        methods: labels of the methods.
        count: the count of the photos or texts.
        progress: whether to show a line where there is no listener; only the first process does.
        what: is explained, in the singular.

    Example:
        >>> with telling_of(None, ["grad_cam"], 3, False, "photo") as told:
        ...     print(told)
        None
    """
    if listener is None and progress:
        with ExplanationProgress(methods, count, shown=is_first_process(), what=what) as line:
            yield line
    else:
        with nothing_shown():
            yield listener
