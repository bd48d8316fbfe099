from __future__ import annotations

import numpy as np
from PIL import Image

from ttame.drawing.figure import figure_of


def test_pictures_stand_in_rows_under_their_titles() -> None:
    pictures = [(Image.new("RGB", (8, 4), (shade, 0, 0)), f"number {shade}") for shade in range(5)]
    figure = figure_of(pictures, per_row=3)
    drawn = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in drawn] == [title for _, title in pictures]
    assert len(figure.axes) == 6 and not any(axes.axison for axes in figure.axes)
    for axes, (picture, _) in zip(drawn, pictures, strict=True):
        assert np.array_equal(axes.images[0].get_array(), np.asarray(picture))


def test_pyplot_does_not_know_of_it() -> None:
    """It would show it a second time below the cell of a notebook."""
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    figure_of([(Image.new("RGB", (8, 4)), "")])
    assert pyplot.get_fignums() == before
