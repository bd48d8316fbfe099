"""One line that says how far work is, wherever it is read.

On a terminal it is a bar that is gone when the work ends; in a notebook a bar below the cell;
elsewhere, as in a log file, a line a minute.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Protocol, Self

from ttame.notebook.cards import card, line
from ttame.notebook.cells import ShownHtml, html_of, in_notebook, show_html

SECONDS_BETWEEN_LINES = 60.0
"""Where neither a terminal nor a notebook is there."""

_SECONDS_BETWEEN_UPDATES = 0.2
"""Of a notebook's bar: every update travels to the browser."""

_TAKEN: ContextVar[bool] = ContextVar("ttame_progress_is_taken", default=False)
"""Whether whoever called shows the progress already, or wants none to be shown."""

_SCREEN = threading.Lock()
"""Held by the one line that is shown: those of other threads would be drawn over it."""


@dataclasses.dataclass(frozen=True)
class HowFar:
    """What a progress line says.

    Attributes:
        what: is being done.
        done: units of work.
        total: units of work; ``None`` while it is not known.
        remark: behind the bar.

    Example:
        >>> HowFar("grad_cam", 3, 12, "about 0:09 left").in_words()
        'grad_cam, 25 %, about 0:09 left'
    """

    what: str = "loading"
    done: float = 0.0
    total: float | None = None
    remark: str = ""

    @property
    def share(self) -> float:
        """Of the work, in [0, 1]."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    def in_words(self) -> str:
        """The line where there is no bar."""
        share = f"{self.share:.0%}".replace("%", " %") if self.total else ""
        return ", ".join(filter(None, (self.what, share, self.remark)))


class _Screen(Protocol):
    def draw(self, state: HowFar) -> None: ...
    def say(self, text: str) -> None: ...
    def close(self) -> None: ...


class ProgressLine:
    """A line that says how far work is; use it in a ``with`` block.

    Inside another one's block it shows nothing, nor where :func:`nothing_shown` says so.

    Args:
        shown: false in all but the first of several processes.

    Attributes:
        state: what it says now.

    Example:
        >>> with ProgressLine() as progress:
        ...     progress.update(what="rise", done=1, total=4)
        >>> progress.state.in_words()
        'rise, 25 %'
    """

    def __init__(self, *, shown: bool = True) -> None:
        self.state = HowFar()
        self._wanted = shown
        self._screen: _Screen | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        if self._wanted and not _TAKEN.get() and _SCREEN.acquire(blocking=False):
            self._stack.callback(_SCREEN.release)
            self._stack.enter_context(nothing_shown())  # of what runs inside
            self._screen = _open_screen()
            self._stack.callback(self._screen.close)
        return self

    def __exit__(self, *problem: object) -> None:
        self._screen = None
        self._stack.close()

    def update(
        self,
        *,
        what: str | None = None,
        done: float | None = None,
        total: float | None = None,
        remark: str | None = None,
    ) -> None:
        """Say something else; what is not given stays."""
        given = {"what": what, "done": done, "total": total, "remark": remark}
        changes = {name: value for name, value in given.items() if value is not None}
        self.state = dataclasses.replace(self.state, **changes)  # type: ignore[arg-type]
        if self._screen is not None:
            self._screen.draw(self.state)

    def say(self, text: str) -> None:
        """Print a line that stays."""
        if self._screen is not None:
            self._screen.say(text)


@contextlib.contextmanager
def nothing_shown() -> Iterator[None]:
    """Show no progress of what runs in the block.

    Example:
        >>> with nothing_shown(), ProgressLine() as progress:
        ...     progress.say("not printed")
    """
    token = _TAKEN.set(True)
    try:
        yield
    finally:
        _TAKEN.reset(token)


def _open_screen() -> _Screen:
    if in_notebook():
        return _NotebookBar()
    from rich.console import Console

    console = Console(stderr=True)
    return _TerminalBar() if console.is_terminal and not console.is_dumb_terminal else _Lines()


class _TerminalBar:
    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        # On the error stream, and gone when it ends: what is printed can be piped on.
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[remark]}", markup=False),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("loading", total=None, remark="")
        self._progress.start()

    def draw(self, state: HowFar) -> None:
        self._progress.update(
            self._task,
            description=state.what,
            completed=state.done,
            total=state.total,
            remark=state.remark,
        )

    def say(self, text: str) -> None:
        self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        self._progress.stop()


class _NotebookBar:
    def __init__(self) -> None:
        self._said: list[str] = []
        self._state = HowFar()
        self._shown: ShownHtml | None = None
        self._drawn = 0.0

    def draw(self, state: HowFar) -> None:
        self._state = state
        if time.monotonic() - self._drawn >= _SECONDS_BETWEEN_UPDATES:
            self._show(f'<progress value="{state.share:.4f}" style="width:100%"></progress>')

    def say(self, text: str) -> None:
        self._said.append(text)
        self._show("")

    def close(self) -> None:
        """The bar goes; what was said stays."""
        if self._shown is not None:
            said = "".join(map(line, self._said[1:]))
            self._shown.update(html_of(card(self._said[0], said) if self._said else ""))

    def _show(self, bar: str) -> None:
        self._drawn = time.monotonic()
        text = card(self._state.in_words(), bar, *map(line, self._said))
        if self._shown is None:
            self._shown = show_html(text)
        else:
            self._shown.update(html_of(text))


class _Lines:
    def __init__(self) -> None:
        self._printed = time.monotonic()

    def draw(self, state: HowFar) -> None:
        if time.monotonic() - self._printed >= SECONDS_BETWEEN_LINES:
            self._printed = time.monotonic()
            self.say(state.in_words())

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing is left to do."""
