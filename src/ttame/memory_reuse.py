"""Keeping memory that was freed, because getting it from the system again costs more than it saves.

The GNU C library maps every large block anew and gives it back when it is freed. A network does
that with each of its layers, and each time the system fills the pages with zeros before they can be
written to: on one CPU core, with EfficientNet-Lite0 and batches of 16, a third of all processor
time went there, and processes that work next to each other wait for the same memory.
"""

from __future__ import annotations

import os
import sys

MOST_KEPT = (1 << 31) - 1
"""Bytes of freed memory that a process holds on to at the end of its heap; mallopt takes an int."""

_TRIM_THRESHOLD = -1
_MOST_MAPPED_BLOCKS = -4
"""Parameters of mallopt(3)."""


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, up to two gigabytes, for its next large blocks.

    It is of the whole process, so a program decides on it and no function of the library does: the
    commands do, before they import torch. What a user has set in the environment (``MALLOC_...``,
    ``GLIBC_TUNABLES``) stands. Nothing that is computed changes.

    Returns:
        Whether it is kept: not where another C library, or the user, manages the memory.

    Example:
        >>> from unittest.mock import patch
        >>> with patch.dict(os.environ, {"MALLOC_ARENA_MAX": "2"}):  # the user's own setting
        ...     keep_freed_memory()
        False
    """
    managed = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    if sys.platform != "linux" or managed:
        return False
    import ctypes  # here, since help needs none of it

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # Both must be set: blocks that are not mapped lie on the heap, which is trimmed by default.
    return bool(mallopt(_MOST_MAPPED_BLOCKS, 0) and mallopt(_TRIM_THRESHOLD, MOST_KEPT))
