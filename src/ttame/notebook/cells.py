"""Whether a notebook is there, and what is put below its cells."""

from __future__ import annotations

import sys
from typing import Any, Protocol


class ShownHtml(Protocol):
    """What a cell shows, which can be replaced by something newer."""

    def update(self, shown: Any, /) -> None:
        """Show something else in its place."""


def in_notebook() -> bool:
    """Whether this runs in a notebook, where pictures and HTML appear below the cell.

    A terminal with IPython is not a notebook. Nothing is imported to find out.

    Example:
        >>> in_notebook()
        False
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def html_of(text: str) -> Any:
    """HTML as a notebook's ``display`` takes it."""
    from IPython.display import HTML

    return HTML(text)


def show_html(text: str) -> ShownHtml:
    """Put HTML below the cell that runs; what comes back replaces it."""
    from IPython.display import display

    shown: ShownHtml = display(html_of(text), display_id=True)
    return shown


def show_jpeg(content: bytes) -> None:
    """Put a picture below the cell that runs."""
    from IPython.display import Image, display

    display(Image(data=content, format="jpeg"))
