"""Pictures small enough to travel inside a cell's output."""

from __future__ import annotations

import base64
import io

from PIL import Image

MOST_BYTES = 20_000
"""Of one picture; what is larger is made coarser, then smaller."""

_TRIES = ((1.0, 80), (1.0, 60), (0.75, 55), (0.5, 50), (0.5, 20), (0.25, 20))
"""Share of the size, and quality, one after the other until a picture is small enough."""


def picture_address(picture: Image.Image, largest: int) -> str:
    """A picture as a WebP of at most 20 kB in a ``data:`` address.

    Args:
        picture: a picture of any size; not changed, never enlarged.
        largest: pixels of the longer side.

    Example:
        >>> picture_address(Image.new("RGB", (4, 4)), 320)[:23]
        'data:image/webp;base64,'
    """
    content = b""
    for share, quality in _TRIES:
        side = max(1, round(largest * share))
        content = _webp(picture, side, quality)
        if len(content) <= MOST_BYTES:
            break
    return f"data:image/webp;base64,{base64.b64encode(content).decode('ascii')}"


def jpeg_bytes(picture: Image.Image, quality: int = 85) -> bytes:
    """A picture as a JPEG file."""
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "JPEG", quality=quality, optimize=True)
    return stream.getvalue()


def _webp(picture: Image.Image, side: int, quality: int) -> bytes:
    small = picture.convert("RGB")  # A copy in any case.
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    small.save(stream, "WEBP", quality=quality, method=4)
    return stream.getvalue()
