"""What every attack of this package reports."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

Tell = Callable[[int], None]
"""Told how many tries of a part are done."""


def nobody(done: int) -> None:
    """Whom to tell if nobody listens."""


@dataclasses.dataclass(frozen=True)
class Attempted:
    """How often one kind of attack was tried, and how often it did harm."""

    name: str
    tries: int
    failures: int
    example: str = ""
