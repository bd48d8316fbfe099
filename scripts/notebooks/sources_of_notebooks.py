"""Sources of notebooks: Markdown whose Python blocks become cells of code."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "scripts" / "notebooks" / "sources"
EXAMPLES = ROOT / "examples"

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell of a notebook: ``"markdown"`` or ``"code"``."""

    kind: str
    text: str


def sources() -> list[Path]:
    """All sources, in order."""
    return sorted(SOURCES.glob("*.md"))


def cells_of(text: str) -> Iterator[Cell]:
    """Cut a source into cells.

    Example:
        >>> list(cells_of("# Title\\n\\n```python\\n1 + 1\\n```\\n"))
        [Cell(kind='markdown', text='# Title'), Cell(kind='code', text='1 + 1')]
    """
    for place, part in enumerate(_BLOCK.split(text)):
        if part.strip():
            yield Cell("code" if place % 2 else "markdown", part.strip())
