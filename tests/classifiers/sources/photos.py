"""Real photos that are not square, as the libraries' own transforms see them."""

from __future__ import annotations

from PIL import Image
from skimage import data


def wide_photo() -> Image.Image:
    """451x300 pixels."""
    return Image.fromarray(data.chelsea())


def tall_photo() -> Image.Image:
    """300x400 pixels."""
    return Image.fromarray(data.coffee()).crop((100, 0, 400, 400))
