"""What every attack of this package reports."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Attempted:
    """How often one kind of attack was tried, and how often it did harm."""

    name: str
    tries: int
    failures: int
    example: str = ""
