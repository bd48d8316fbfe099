"""Which files a pattern such as ``data/train-{0000..0005}.tar`` names."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from pathlib import Path

from ttame.errors import DatasetError

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def is_pattern(text: str) -> bool:
    """Say whether ``text`` names files by wildcards, braces or ``::``.

    Example:
        >>> is_pattern("train-*.tar"), is_pattern("train-0000.tar")
        (True, False)
    """
    return "::" in text or bool(_BRACES.search(text)) or glob.has_magic(text)


def files_of(pattern: str) -> list[Path]:
    """List the local files that ``pattern`` names.

    Args:
        pattern: paths with ``*``, ``?``, ``[…]``, ``{0000..0005}`` (both ends belong to it, with
            leading zeros) and ``{train,val}``, several of them joined by ``::`` as webdataset
            has it.

    Returns:
        The files in the order of the braces, sorted within a wildcard, each once.

    Raises:
        DatasetError: one of the alternatives matches no file.
    """
    files: dict[Path, None] = {}
    for part in pattern.split("::"):
        for alternative in _expand_braces(part):
            matches = sorted(glob.glob(alternative, recursive=True))
            if not matches:
                spelt = f" (of {pattern})" if alternative != pattern else ""
                raise DatasetError(f"{alternative}{spelt} matches no file")
            files.update(dict.fromkeys(map(Path, matches)))
    return list(files)


def _expand_braces(pattern: str) -> Iterator[str]:
    """Yield the alternatives of ``pattern``, leftmost brace slowest."""
    braces = _BRACES.search(pattern)
    if braces is None:
        yield pattern
        return
    bounds = _RANGE.fullmatch(braces[1])
    if bounds is None:
        choices: Iterator[str] = iter(braces[1].split(","))
    else:
        first, last = int(bounds[1]), int(bounds[2])
        # As in a shell: a leading zero at either end sets the width of all.
        padded = any(bound.startswith("0") and len(bound) > 1 for bound in bounds.groups())
        width = max(map(len, bounds.groups())) if padded else 0
        step = 1 if first <= last else -1
        choices = (str(number).zfill(width) for number in range(first, last + step, step))
    for choice in choices:
        yield from _expand_braces(pattern[: braces.start()] + choice + pattern[braces.end() :])
