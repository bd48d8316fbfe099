"""Saying which setting to change when memory runs out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from ttame.errors import MemoryLimitError


@contextlib.contextmanager
def naming_the_setting(remedy: str) -> Iterator[None]:
    """Turn any out-of-memory error of the block into one line that names the remedy.

    Args:
        remedy: what to make smaller, with the name of the setting.

    Raises:
        MemoryLimitError: memory ran out.

    Example:
        >>> with naming_the_setting("--batch-size 8"):
        ...     raise MemoryError
        Traceback (most recent call last):
        ttame.errors.MemoryLimitError: not enough memory; try: --batch-size 8
    """
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as problem:
        raise MemoryLimitError("not enough memory", remedy=remedy) from problem
    except RuntimeError as problem:
        # The CPU allocator of torch has no exception class of its own.
        if "not enough memory" in str(problem) or "can't allocate memory" in str(problem):
            raise MemoryLimitError("not enough memory", remedy=remedy) from problem
        raise
