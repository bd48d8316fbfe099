"""How far parts that run side by side are, and how long they will take."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping


@dataclasses.dataclass(frozen=True)
class Work:
    """What a part has to do.

    Attributes:
        tries: in all.
        seconds: that it takes alone on a quiet machine.
    """

    tries: int
    seconds: float


class TimeLeft:
    """Follows the parts that are to run.

    Args:
        works: part to what it has to do.
        clock: seconds.

    Example:
        >>> seconds = iter([0.0, 30.0])
        >>> left = TimeLeft({"kicks": Work(10, 60), "pokes": Work(4, 0)}, lambda: next(seconds))
        >>> left.note("kicks", 5)
        >>> left.in_words(["kicks"])
        '50 % after 0.5 minutes, about 0.5 left; kicks 5/10'
    """

    def __init__(self, works: Mapping[str, Work], clock: Callable[[], float] = time.monotonic):
        self._works = works
        self._done = dict.fromkeys(works, 0)
        self._clock = clock
        self._began = clock()

    def note(self, name: str, done: int) -> None:
        """A part has done so many of its tries."""
        self._done[name] = min(done, self._works[name].tries)

    def finish(self, name: str) -> None:
        """A part has ended."""
        self._done[name] = self._works[name].tries

    def in_words(self, running: list[str]) -> str:
        """One line, with the parts that run now."""
        passed = self._clock() - self._began
        whole = sum(work.seconds for work in self._works.values()) or 1.0
        share = sum(self._share(name) * work.seconds for name, work in self._works.items()) / whole
        left = (
            f"about {passed / share * (1 - share) / 60:.1f} left" if share > 0.01 else "just begun"
        )
        parts = [f"{name} {self._done[name]}/{self._works[name].tries}" for name in running]
        return f"{100 * share:.0f} % after {passed / 60:.1f} minutes, {left}; {', '.join(parts)}"

    def _share(self, name: str) -> float:
        return self._done[name] / max(1, self._works[name].tries)
