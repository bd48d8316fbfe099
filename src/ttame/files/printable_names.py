"""File names as text that can be written anywhere: a file name may hold any bytes."""

from __future__ import annotations

import re

_UNSEEN = re.compile(
    # Control characters would break a line or command the terminal; the others are further line
    # ends, and marks that turn the writing direction, which make one name look like another.
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)

_BYTE = re.compile("[\udc80-\udcff]")
"""What stands for a byte that is not UTF-8."""


def printable(name: str) -> str:
    """A file name on one line, in text that every file and terminal takes.

    Bytes that are not UTF-8, control characters and line ends are escaped.

    Args:
        name: as Python has it, bytes that are not UTF-8 being lone surrogates.

    Example:
        >>> printable("caf\\udce9.jpg"), printable("two\\nlines.jpg"), printable("café")
        ('caf\\\\xe9.jpg', 'two\\\\x0alines.jpg', 'café')
    """
    escaped = _UNSEEN.sub(lambda found: _escape(found[0]), name)
    text = _BYTE.sub(lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", escaped)
    # Half of a surrogate pair, as Windows has it in names, stands for no byte.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"
