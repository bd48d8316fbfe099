"""A figure of matplotlib that a notebook shows, whether or not pyplot has been imported there."""

from __future__ import annotations

import io

from matplotlib.figure import Figure


class NotebookFigure(Figure):
    """Knows how to be shown; where pyplot is at work, notebooks ask pyplot instead.

    Example:
        >>> NotebookFigure(figsize=(1, 1))._repr_png_()[:4]
        b'\\x89PNG'
    """

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png")
        return content.getvalue()
