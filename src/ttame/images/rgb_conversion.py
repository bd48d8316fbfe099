"""Pictures of any mode as RGB, a strip at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from ttame.images.grey_values import GreyRange, grey_range, has_wide_greys

_STRIP_PIXELS = 4_000_000
"""Pixels that are converted at a time: what a conversion needs besides is never the photo's size.
"""

_SCALED = "ttame_scaled"
"""Where Pillow keeps what it knows about a picture; set only if values of more than 8 bits were
scaled."""


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any PIL mode to RGB of 8 bits a channel.

    Transparency is laid on white. Greys of more than 8 bits are scaled as the file says (see
    :func:`ttame.images.grey_values.grey_range`); :func:`scaling_of` tells how.

    Returns:
        The image itself if it is opaque RGB already.

    Example:
        >>> to_rgb(Image.new("LA", (4, 4), (0, 0))).getpixel((0, 0))
        (255, 255, 255)
    """
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    return reduced_rgb(image, 1)


def to_rgba(image: Image.Image) -> Image.Image:
    """Convert an image of any PIL mode to RGBA of 8 bits a channel; opaque if it says nothing.

    Example:
        >>> to_rgba(Image.new("L", (4, 4), 7)).getpixel((0, 0))
        (7, 7, 7, 255)
    """
    if image.mode == "RGBA":
        return image
    return (image if image.has_transparency_data else to_rgb(image)).convert("RGBA")


def scaling_of(photo: Image.Image) -> str:
    """How values of more than 8 bits became 0 to 255, in words; empty where there were none.

    Example:
        >>> scaling_of(to_rgb(Image.new("I;16", (4, 4), 32896)))
        '0 became black and 65535 white (16-bit integers)'
    """
    words: str = photo.info.get(_SCALED, "")
    return words


def reduced_rgb(image: Image.Image, factor: int, *, keep_opacity: bool = False) -> Image.Image:
    """RGB at ``1 / factor`` of the size, the mean of every square of ``factor`` pixels.

    Args:
        image: an image of any mode.
        factor: 1 for the same size.
        keep_opacity: whether RGBA comes of a picture with transparent pixels.
    """
    values = _range_of_values(image) if has_wide_greys(image) else None
    rows = _rows_at_a_time(image, factor)
    mode = "RGBA" if keep_opacity and _shows_through(image) else "RGB"
    if factor == 1 and rows >= image.height:
        picture = _strip(image, values, mode)
    else:
        width, height = (math.ceil(side / factor) for side in image.size)
        picture = Image.new(mode, (width, height))
        for top, part in _strips(image, rows):
            picture.paste(_reduced(_strip(part, values, mode), factor), (0, top // factor))
    if values is not None:
        picture.info[_SCALED] = values.in_words()
    return picture


def _reduced(strip: Image.Image, factor: int) -> Image.Image:
    if factor == 1:
        return strip
    if strip.mode == "RGBA":
        # What is transparent must not colour what is not.
        return strip.convert("RGBa").reduce(factor).convert("RGBA")
    return strip.reduce(factor)


def _shows_through(image: Image.Image) -> bool:
    """Whether any pixel is not opaque."""
    if not image.has_transparency_data:
        return False
    if "transparency" in image.info:
        return True
    return image.getchannel(len(image.getbands()) - 1).getextrema() != (255, 255)


def _rows_at_a_time(image: Image.Image, factor: int = 1) -> int:
    return max(1, _STRIP_PIXELS // (image.width * factor)) * factor


def _strips(image: Image.Image, rows: int) -> Iterator[tuple[int, Image.Image]]:
    """First row and picture of one strip after the other."""
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _range_of_values(image: Image.Image) -> GreyRange:
    return grey_range(image, lambda: _extremes(image))


def _extremes(image: Image.Image) -> tuple[float, float]:
    """The least and the largest number of a picture."""
    lows, highs = [], []
    for _, strip in _strips(image, _rows_at_a_time(image)):
        values = _without_nan(strip)
        lows.append(float(values.min()))
        highs.append(float(values.max()))
    return min(lows), max(highs)


def _strip(image: Image.Image, values: GreyRange | None, mode: str) -> Image.Image:
    if values is not None:
        return Image.fromarray(_bytes(image, values)).convert(mode)
    return image.convert("RGBA") if mode == "RGBA" else _opaque(image)


def _opaque(image: Image.Image) -> Image.Image:
    """RGB of a picture of 8 bits a channel, with transparency laid on white."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    layered = image.convert("RGBA")
    if layered.getchannel("A").getextrema() == (255, 255):
        return layered.convert("RGB")
    page = Image.new("RGBA", layered.size, (255, 255, 255, 255))
    page.alpha_composite(layered)
    return page.convert("RGB")


def _bytes(image: Image.Image, values: GreyRange) -> np.ndarray[Any, Any]:
    """Numbers between black and white as 0 to 255."""
    span = values.white - values.black
    shares = (_without_nan(image).astype(np.float64) - values.black) / (span if span else 1.0)
    return np.round(255 * shares.clip(0, 1)).astype(np.uint8)


def _without_nan(image: Image.Image) -> np.ndarray[Any, Any]:
    """The numbers of a picture; what is not a number is 0, and what is infinite very large."""
    values = np.asarray(image)
    return values if np.isfinite(values).all() else np.nan_to_num(values.astype(np.float64))
