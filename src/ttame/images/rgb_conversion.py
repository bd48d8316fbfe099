"""Pictures of any mode as RGB, a strip at a time."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import numpy as np
from PIL import Image

_STRIP_PIXELS = 4_000_000
"""Pixels that are converted at a time: what a conversion needs besides is never the photo's size.
"""

_HIGHEST_16_BIT = 65535


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any PIL mode to RGB of 8 bits a channel.

    Transparency is laid on white. Modes with more than 8 bits are scaled by their format's full
    range (65535 for 16-bit integers), or to their own minimum and maximum for 32-bit ones, which
    have no agreed range.

    Example:
        >>> to_rgb(Image.new("LA", (4, 4), (0, 0))).getpixel((0, 0))
        (255, 255, 255)
    """
    return image.copy() if image.mode == "RGB" else reduced_rgb(image, 1)


def reduced_rgb(image: Image.Image, factor: int) -> Image.Image:
    """RGB at ``1 / factor`` of the size, the mean of every square of ``factor`` pixels."""
    values = _range_of_values(image)
    rows = _rows_at_a_time(image, factor)
    if factor == 1 and rows >= image.height:
        return _strip_to_rgb(image, values)
    width, height = (math.ceil(side / factor) for side in image.size)
    picture = Image.new("RGB", (width, height))
    for top, strip in _strips(image, rows):
        rgb = _strip_to_rgb(strip, values)
        picture.paste(rgb.reduce(factor) if factor > 1 else rgb, (0, top // factor))
    return picture


def _rows_at_a_time(image: Image.Image, factor: int = 1) -> int:
    return max(1, _STRIP_PIXELS // (image.width * factor)) * factor


def _strips(image: Image.Image, rows: int) -> Iterator[tuple[int, Image.Image]]:
    """First row and picture of one strip after the other."""
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _range_of_values(image: Image.Image) -> tuple[float, float]:
    """The values of 32 bits that become black and white; nothing is asked of other modes."""
    if image.mode not in ("I", "F"):
        return 0, _HIGHEST_16_BIT
    lows, highs = [], []
    for _, strip in _strips(image, _rows_at_a_time(image)):
        values = _without_nan(strip)
        lows.append(float(values.min()))
        highs.append(float(values.max()))
    low, high = min(lows), max(highs)
    # Pillow opens 16-bit greyscale PNGs as 32-bit integers in some versions.
    if image.mode == "I" and low >= 0 and high <= _HIGHEST_16_BIT:
        return 0, _HIGHEST_16_BIT
    return low, high


def _strip_to_rgb(image: Image.Image, values: tuple[float, float]) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16"):
        return Image.fromarray(_bytes_of_16_bits()[np.asarray(image)]).convert("RGB")
    if image.mode in ("I", "F"):
        low, high = values
        grey = (_without_nan(image).astype(np.float64) - low) / (high - low if high > low else 1.0)
        return Image.fromarray(_bytes(grey)).convert("RGB")
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        if layered.getchannel("A").getextrema() == (255, 255):
            return layered.convert("RGB")
        page = Image.new("RGBA", layered.size, (255, 255, 255, 255))
        page.alpha_composite(layered)
        return page.convert("RGB")
    return image.convert("RGB")


def _without_nan(image: Image.Image) -> np.ndarray:
    """The numbers of a picture; what is no number is 0, and what is infinite very large."""
    values = np.asarray(image)
    return values if np.isfinite(values).all() else np.nan_to_num(values.astype(np.float64))


@functools.cache
def _bytes_of_16_bits() -> np.ndarray:
    """What each of the 65536 values becomes."""
    return _bytes(np.arange(_HIGHEST_16_BIT + 1) / _HIGHEST_16_BIT)


def _bytes(values: np.ndarray) -> np.ndarray:
    """Values in [0, 1] as 0 to 255."""
    return np.round(values * 255).astype(np.uint8)
