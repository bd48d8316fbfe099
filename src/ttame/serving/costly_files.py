"""Files of a few kilobytes that take minutes to read, found without decoding anything."""

from __future__ import annotations

import re
import struct

_MOST_SCANS = 100
"""Of a JPEG; progressive ones have about ten. Each may cost a pass over all of its pixels."""

_MOST_SEGMENTS = 10_000
_MOST_PIECES = 20_000
"""Strips or tiles of a TIFF, of which each is a step of its own."""

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_WITHOUT_LENGTH = (0x01, 0xD8)
_END, _SCAN = 0xD9, 0xDA
_PLACES = (273, 324)
"""The tags of a TIFF that say where its strips or tiles are."""


def costs_minutes(content: bytes) -> str:
    """Why a file would take far longer to read than its size tells; empty if it would not.

    Args:
        content: of the file.

    Example:
        >>> scan = b"\\xff\\xda\\x00\\x02"
        >>> costs_minutes(b"\\xff\\xd8" + 10 * scan), costs_minutes(b"\\xff\\xd8" + 500 * scan)
        ('', 'more than 100 scans')
    """
    if content.startswith(b"\xff\xd8"):
        return _of_jpeg(content)
    if content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _of_tiff(content)
    return ""


def _of_jpeg(content: bytes) -> str:
    """Count the scans as decoders do: from marker to marker, up to the end of the picture."""
    scans, place = 0, 2
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.search(content, place)
        if found is None or content[found.start() + 1] == _END:
            return ""
        marker, place = content[found.start() + 1], found.end()
        scans += marker == _SCAN
        if scans > _MOST_SCANS:
            return f"more than {_MOST_SCANS} scans"
        if marker not in _WITHOUT_LENGTH:
            place += max(2, int.from_bytes(content[place : place + 2], "big"))
    return f"more than {_MOST_SEGMENTS:,} segments"


def _of_tiff(content: bytes) -> str:
    order = "<" if content[:1] == b"I" else ">"
    big = content[2:4] in (b"+\0", b"\0+")
    entry = struct.Struct(order + ("HHQ8x" if big else "HHI4x"))
    try:
        (first,) = struct.unpack_from(order + ("Q" if big else "I"), content, 8 if big else 4)
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), content, first)
        first += 8 if big else 2
        for number in range(min(count, len(content) // entry.size)):
            tag, _, pieces = entry.unpack_from(content, first + number * entry.size)
            if tag in _PLACES and pieces > _MOST_PIECES:
                return f"more than {_MOST_PIECES:,} strips or tiles"
    except (struct.error, OverflowError):
        return ""  # Whoever reads it says what is wrong.
    return ""
