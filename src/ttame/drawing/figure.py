"""A photo and its overlays as a figure of matplotlib, for papers and slides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from ttame.errors import MissingExtraError


def figure_of(pictures: Sequence[tuple[Image.Image, str]], per_row: int = 4) -> Any:
    """Lay pictures out with their titles.

    Args:
        pictures: with what stands above each of them, at least one.
        per_row: at most so many next to each other.

    Returns:
        A ``matplotlib.figure.Figure``, which pyplot does not know of and so never shows twice. A
        notebook shows it, whether or not pyplot has been imported there.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from ttame.drawing.notebook_figure import NotebookFigure
    except ImportError as problem:
        raise MissingExtraError(
            "figures need the package matplotlib", remedy="pip install matplotlib"
        ) from problem
    columns = min(per_row, len(pictures))
    rows = -(-len(pictures) // columns)
    width, height = pictures[0][0].size
    cell = 3.2
    figure = NotebookFigure(figsize=(cell * columns, (cell * height / width + 0.6) * rows))
    figure.set_layout_engine("constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for place in axes:
        place.axis("off")
    for place, (picture, title) in zip(axes, pictures, strict=False):
        place.imshow(picture)
        place.set_title(title, fontsize=10)
    return figure
