"""A photo and its overlays as a figure of matplotlib, for papers and slides."""

from __future__ import annotations

import functools
import io
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
        from matplotlib.figure import Figure
    except ImportError as problem:
        raise MissingExtraError(
            "figures need the package matplotlib", remedy="pip install matplotlib"
        ) from problem
    columns = min(per_row, len(pictures))
    rows = -(-len(pictures) // columns)
    width, height = pictures[0][0].size
    cell = 3.2
    figure = Figure(figsize=(cell * columns, (cell * height / width + 0.6) * rows))
    # Without pyplot, notebooks do not know how to show a figure; with it they ask pyplot instead.
    figure._repr_png_ = functools.partial(_png_of, figure)  # type: ignore[attr-defined]
    figure.set_layout_engine("constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for place in axes:
        place.axis("off")
    for place, (picture, title) in zip(axes, pictures, strict=False):
        place.imshow(picture)
        place.set_title(title, fontsize=10)
    return figure


def _png_of(figure: Any) -> bytes:
    """The figure as a notebook shows it."""
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()
