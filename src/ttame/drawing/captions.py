"""Text for pictures: which font has its letters, how it fits a width, how a probability reads."""

from __future__ import annotations

import functools
import unicodedata

from PIL import ImageFont

Font = ImageFont.FreeTypeFont

ELLIPSIS = "…"

_SYSTEM_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "Arial Unicode.ttf",
    "arial.ttf",
    "msyh.ttc",
    "malgun.ttf",
    "YuGothM.ttc",
)
"""Tried in this order for text that Pillow's own font cannot write (it knows little but ASCII)."""


def percent(probability: float) -> str:
    """Write a probability for people, never rounding a doubt away.

    Args:
        probability: in [0, 1].

    Example:
        >>> [percent(value) for value in (0.8731, 0.99996, 1.0, 0.0002, 0.0)]
        ['87.3%', '>99.9%', '100%', '<0.1%', '0%']
    """
    if probability in (0, 1):
        return f"{probability:.0%}"
    if probability < 0.001:
        return "<0.1%"
    return ">99.9%" if probability > 0.999 else f"{probability:.1%}"


def writable_caption(text: str, size: int) -> tuple[str, Font]:
    """Find a font for ``text``, or change ``text`` so that the font of Pillow can write it.

    ASCII is always written in the font that Pillow ships, so that pictures look alike on every
    machine. For other letters a font of the system is searched. Where none has them, accents are
    dropped and the rest becomes "?": a picture never shows empty boxes.

    Args:
        text: any text; line breaks and control characters become spaces.
        size: height of the font in pixels.

    Returns:
        What to write, and the font to write it with.

    Example:
        >>> writable_caption("tabby\\ncat", 16)[0]
        'tabby cat'
    """
    # Format characters (Cf) go first: one of them writes a file name backwards.
    visible = (c for c in text if unicodedata.category(c) != "Cf")
    printable = (" " if unicodedata.category(c).startswith("C") else c for c in visible)
    text = " ".join("".join(printable).split())
    shipped = _shipped_font(size)
    if _has_letters(shipped, text):
        return text, shipped
    for name in _SYSTEM_FONTS:
        font = _system_font(name, size)
        if font is not None and _has_letters(font, text):
            return text, font
    decomposed = unicodedata.normalize("NFKD", text)
    letters = [c for c in decomposed if not unicodedata.combining(c)]
    return "".join(c if _has_letter(shipped, c) else "?" for c in letters), shipped


def wrap_caption(text: str, font: Font, width: float, max_lines: int = 2) -> list[str]:
    """Break ``text`` between words into lines; what does not fit ends in an ellipsis.

    Args:
        text: one line of text.
        font: the font it is written with.
        width: the width of a line, in pixels.
        max_lines: at most so many lines come back.

    Returns:
        At least one line, none wider than ``width`` (but for a single letter).

    Example:
        >>> font = writable_caption("", 16)[1]
        >>> wrap_caption("Egyptian cat with a very long name", font, 100)
        ['Egyptian cat', 'with a very l…']
    """
    lines = [""]
    words = text.split()
    for position, word in enumerate(words):
        longer = f"{lines[-1]} {word}".strip()
        if not lines[-1] or font.getlength(longer) <= width:
            lines[-1] = longer
        elif len(lines) < max_lines:
            lines.append(word)
        else:
            lines[-1] = " ".join([lines[-1], *words[position:]])
            break
    return [_shortened(line, font, width) for line in lines]


def _shortened(line: str, font: Font, width: float) -> str:
    """Cut ``line`` where it leaves ``width``, by bisection because names can be very long."""
    if font.getlength(line[:1000]) <= width and len(line) <= 1000:
        return line
    fits, too_long = 1, min(len(line), 1000)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if font.getlength(line[:middle] + ELLIPSIS) <= width:
            fits = middle
        else:
            too_long = middle
    return line[:fits] + ELLIPSIS


def _has_letters(font: Font, text: str) -> bool:
    return all(_has_letter(font, letter) for letter in set(text))


@functools.lru_cache(maxsize=4096)
def _has_letter(font: Font, letter: str) -> bool:
    """Say whether the font draws this letter as anything but its box for missing ones."""
    if letter.isspace():
        return True
    drawn, missing = font.getmask(letter), font.getmask("\U0010fffe")
    return (drawn.size, bytes(drawn)) != (missing.size, bytes(missing))


@functools.lru_cache(maxsize=64)
def _shipped_font(size: int) -> Font:
    font = ImageFont.load_default(size=size)
    if not isinstance(font, ImageFont.FreeTypeFont):  # pragma: no cover
        raise RuntimeError("this Pillow was built without FreeType")
    return font


@functools.lru_cache(maxsize=64)
def _system_font(name: str, size: int) -> Font | None:
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None
