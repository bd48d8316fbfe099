from __future__ import annotations

import io

from PIL import Image

from ttame.drawing.figure import figure_of


def test_a_notebook_shows_it_where_nobody_has_imported_pyplot() -> None:
    figure = figure_of([(Image.new("RGB", (8, 4)), "")])
    with Image.open(io.BytesIO(figure._repr_png_())) as shown:
        assert shown.format == "PNG" and shown.size == tuple(map(int, figure.bbox.size))
