"""Pictures that travel inside a page, as ``data:`` addresses."""

from __future__ import annotations

import base64
import io

from numpy.typing import ArrayLike
from PIL import Image, features

from ttame.drawing.colour_scales import N_COLOURS, colour_indices, colour_scale
from ttame.drawing.heatmap_overlay import opacity_scale

PHOTO_SIDE = 512
"""Pixels of the longer side of a photo in the page."""

THUMBNAIL_SIDE = 96
"""Pixels of the longer side of a thumbnail: a page holds thousands."""

HEAT_SIDE = 160
"""Pixels of the longer side of a heatmap in the page. The browser stretches it as smoothly as
:func:`ttame.images.saliency_maps.resize_maps` would, and heatmaps come from grids that are much
coarser still."""


def photo_address(photo: Image.Image, largest: int = PHOTO_SIDE) -> str:
    """Return a photo as a JPEG of at most ``largest`` pixels a side.

    Args:
        photo: RGB of any size; not changed, never enlarged.
        largest: pixels of the longer side.

    Example:
        >>> photo_address(Image.new("RGB", (4, 4)))[:23]
        'data:image/jpeg;base64,'
    """
    thumbnail = photo.convert("RGB")  # A copy in any case.
    thumbnail.thumbnail((largest, largest), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    thumbnail.save(stream, "JPEG", quality=84, optimize=True)
    return _address("image/jpeg", stream)


def thumbnail_address(picture: Image.Image) -> str:
    """Return a picture as a WebP, or a JPEG where Pillow has no WebP, of one or two kilobytes.

    Args:
        picture: RGB; not changed.

    Example:
        >>> thumbnail_address(Image.new("RGB", (4, 4)))[:11]
        'data:image/'
    """
    small = picture.copy()
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    kind = "webp" if features.check("webp") else "jpeg"
    stream = io.BytesIO()
    small.save(stream, kind.upper(), quality=55)
    return _address(f"image/{kind}", stream)


def heat_address(heatmap: ArrayLike, scale: str) -> str:
    """Return a heatmap as a PNG to be laid over a photo.

    It is a palette picture: every pixel holds the value itself, the palette its colour and
    opacity. The highest value is opaque; the page turns the whole layer down.

    Args:
        heatmap: (H, W) floating in [0, 1].
        scale: one of :func:`ttame.drawing.colour_scales.known_scales`.

    Raises:
        UnknownNameError: no such colour scale.

    Example:
        >>> heat_address([[0.0, 1.0]], "inferno")[:22]
        'data:image/png;base64,'
    """
    layer = Image.fromarray(colour_indices(heatmap), mode="L").convert("P")
    layer.putpalette(colour_scale(scale).tobytes())
    stream = io.BytesIO()
    layer.save(stream, "PNG", transparency=opacity_scale(1.0).tobytes(), optimize=True)
    return _address("image/png", stream)


def legend_gradient(scale: str, n_stops: int = 17) -> str:
    """Return the colours and opacities of a heatmap as the stops of a CSS gradient.

    Args:
        scale: one of :func:`ttame.drawing.colour_scales.known_scales`.
        n_stops: at least two, from low to high.

    Example:
        >>> legend_gradient("inferno", 2)
        'rgb(0 0 4 / 0.000), rgb(252 255 164 / 1.000)'
    """
    colours, opacities = colour_scale(scale), opacity_scale(1.0)
    places = [round(stop * (N_COLOURS - 1) / (n_stops - 1)) for stop in range(n_stops)]
    return ", ".join(
        "rgb({} {} {} / {:.3f})".format(*colours[place], opacities[place] / 255) for place in places
    )


def _address(media_type: str, stream: io.BytesIO) -> str:
    return f"data:{media_type};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
