"""File names made from the names of images and classes, whatever those contain."""

from __future__ import annotations

import re
import unicodedata

LONGEST_STEM = 80
"""Bytes in UTF-8; file systems take 255, and numbers and endings come behind."""

_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
"""Names that Windows keeps for devices."""


def safe_stem(name: str) -> str:
    """Make a file name without ending from the name or path of an image.

    The folders and the ending are dropped. Letters and digits of any script, "-", "_" and "."
    stay; everything else becomes "_".

    Args:
        name: any text.

    Returns:
        At least one and at most 80 bytes of UTF-8; the name of no device, nothing hidden.

    Example:
        >>> [safe_stem(name) for name in ("cats/chelsea.png", "../..", "a b?.jpg", "Löwe")]
        ['chelsea', 'image', 'a_b', 'Löwe']
    """
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name).rstrip("/\\"))[-1]
    stem = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", last)
    return _tidied(stem) or "image"


def safe_label(label: str) -> str:
    """Make a part of a file name from the name of a class.

    Example:
        >>> safe_label("tench, Tinca tinca"), safe_label("<>")
        ('tench_Tinca_tinca', 'class')
    """
    return _tidied(label.replace(".", "_")) or "class"


class UniqueStems:
    """Hands out stems that never repeat, not even on file systems that ignore case.

    Of each image it keeps the stem and nothing else.

    Example:
        >>> stems = UniqueStems()
        >>> [stems.take(name) for name in ("a/cat.png", "b/Cat.jpg", "cat-2.png")]
        ['cat', 'Cat-2', 'cat-2-2']
    """

    def __init__(self) -> None:
        self._next_number: dict[str, int] = {}

    def take(self, name: str) -> str:
        """Return :func:`safe_stem` of ``name``, with a number if it was taken before."""
        wanted = stem = safe_stem(name)
        while _folded(stem) in self._next_number:
            number = self._next_number[_folded(wanted)]
            self._next_number[_folded(wanted)] = number + 1
            stem = f"{wanted}-{number}"
        self._next_number[_folded(stem)] = 2
        return stem


def _tidied(text: str) -> str:
    text = re.sub(r"[^\w.-]+", "_", text).strip("._-")
    cut = text.encode("utf-8")[:LONGEST_STEM].decode("utf-8", errors="ignore").strip("._-")
    return f"_{cut}" if _RESERVED.match(cut) else cut


def _folded(stem: str) -> str:
    return unicodedata.normalize("NFC", stem.casefold())
