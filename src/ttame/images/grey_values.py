"""Which numbers of a grey picture are black and white, as its file says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image

HIGHEST_16_BIT = 65535

_BITS, _COLOURS, _FORMAT, _LEAST, _MOST = 258, 262, 339, 340, 341
"""TIFF 6.0: BitsPerSample, PhotometricInterpretation, SampleFormat, SMin- and SMaxSampleValue."""

_WHITE_IS_ZERO = 0
_UNSIGNED = 1
_DARK = 1 / 8
"""Of the range: a picture that reaches no higher is nearly black."""

Extremes = Callable[[], tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class GreyRange:
    """What becomes black and what becomes white.

    Attributes:
        black: the number that becomes 0; larger than ``white`` where the file counts darkness.
        white: the number that becomes 255.
        reason: who says so.

    Example:
        >>> GreyRange(0, 4095, "the file has 12 bits").in_words()
        '0 became black and 4095 white (the file has 12 bits)'
    """

    black: float
    white: float
    reason: str

    def in_words(self) -> str:
        """One line for people."""
        return f"{self.black:g} became black and {self.white:g} white ({self.reason})"


def has_wide_greys(image: Image.Image) -> bool:
    """Whether a picture has one channel of more than 8 bits."""
    return image.mode.startswith(("I", "F"))


def grey_range(image: Image.Image, extremes: Extremes) -> GreyRange:
    """Read the range of a picture with one channel of more than 8 bits.

    What the file says counts: SMin- and SMaxSampleValue of a TIFF, then the number of bits of
    unsigned integers up to 16. Floats that lie within [0, 1] are taken as that. Others have no
    agreed range, and are scaled from their own minimum to their own maximum.

    Args:
        image: an image of mode ``I``, ``F`` or ``I;16…``, as it was opened.
        extremes: finds the least and the largest number, which takes a pass over the picture.

    Example:
        >>> grey_range(Image.new("F", (2, 2), 0.5), lambda: (0.5, 0.5)).in_words()
        '0 became black and 1 white (floats within 0 to 1)'
    """
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    found = _said(tags) or _by_bits(image, tags, extremes) or _own(image, extremes)
    if tags.get(_COLOURS) == _WHITE_IS_ZERO:
        return GreyRange(found.white, found.black, f"{found.reason}, in which white is zero")
    return found


def _said(tags: Mapping[int, Any]) -> GreyRange | None:
    least, most = _first(tags.get(_LEAST)), _first(tags.get(_MOST))
    if least is None or most is None or not least < most:
        return None
    return GreyRange(least, most, "the file gives these as its least and largest values")


def _by_bits(image: Image.Image, tags: Mapping[int, Any], extremes: Extremes) -> GreyRange | None:
    """Of unsigned integers of up to 16 bits."""
    if image.mode == "F":
        return None
    bits = int(_first(tags.get(_BITS)) or 16)
    unsigned = _first(tags.get(_FORMAT, _UNSIGNED)) == _UNSIGNED
    low, high = extremes()
    if bits > 16 or not unsigned or low < 0 or high > HIGHEST_16_BIT:
        return None
    # Pillow opens 16-bit greys as 32-bit integers in some versions.
    white = 2**bits - 1
    dark = f", of which {high:g} is the largest in use" if high < white * _DARK else ""
    return GreyRange(0, white, f"{bits}-bit integers{dark}")


def _own(image: Image.Image, extremes: Extremes) -> GreyRange:
    low, high = extremes()
    if image.mode == "F" and low >= 0 and high <= 1:
        return GreyRange(0, 1, "floats within 0 to 1")
    return GreyRange(low, high, "its least and largest values, since the file names none")


def _first(value: Any) -> float | None:
    """The number of a TIFF tag, which may hold one for each sample."""
    if isinstance(value, tuple | list):
        value = value[0] if value else None
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None
