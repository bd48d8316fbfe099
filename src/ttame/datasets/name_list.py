"""A list of a million names that worker processes share."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


class NameList:
    """A fixed sequence of strings, kept as one block of bytes.

    A Python list of strings is copied page by page into every forked DataLoader worker, because
    reading a string changes its reference count. This block stays shared.

    Args:
        names: any strings, undecodable file names (surrogate escapes) included.

    Example:
        >>> names = NameList(["cats/tom.jpg", "größe.png"])
        >>> len(names), names[1]
        (2, 'größe.png')
    """

    def __init__(self, names: Iterable[str]) -> None:
        encoded = [name.encode("utf-8", "surrogateescape") for name in names]
        self._ends = np.cumsum([len(name) for name in encoded], dtype=np.int64)
        self._text = b"".join(encoded)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < len(self):
            raise IndexError(f"name {index} of {len(self)}")
        start = int(self._ends[index - 1]) if index else 0
        return self._text[start : int(self._ends[index])].decode("utf-8", "surrogateescape")
