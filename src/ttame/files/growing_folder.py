"""A result that takes hours: it appears whole, and what is finished of it outlives a kill."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ttame.errors import (
    ANOTHER_FOLDER,
    OutputError,
)
from ttame.files.atomic_writing import give_name, naming_the_place, refuse_existing, umask
from ttame.files.leftovers import (
    Claim,
    claim_abandoned,
    claim_folder,
    leftovers_of,
    remove,
    remove_leftovers,
)
from ttame.files.sole_use import sole_use

RESULT = "result"
"""What gets the final name; whatever lies next to it serves the work and is removed with it."""


@contextlib.contextmanager
def growing_folder(
    path: Path | str,
    *,
    keeps: Callable[[Path], bool],
    overwrite: bool = False,
    continued: Path | None = None,
) -> Iterator[Path]:
    """Yield a hidden work folder next to ``path``; if the block succeeds, its result is ``path``.

    The work folder holds an empty folder ``result``, which is renamed to ``path`` in the end. A
    block that fails, or is killed, leaves the work folder behind if ``keeps`` says so, to be
    continued; it is removed by the next run that does not continue it.

    Args:
        path: the folder to be.
        keeps: whether a work folder holds work that is worth going on with.
        overwrite: replace an existing folder, once the new one is complete.
        continued: one of :func:`unfinished_folders`, to go on with.

    Raises:
        OutputError: ``path`` exists and ``overwrite`` is false, the disk is full, the place is
            not writable, or another run makes the same folder.
    """
    path = Path(path)
    refuse_existing(path, overwrite=overwrite)
    # Of a link, what it leads to is replaced; so is a folder that is called ".".
    real = Path(os.path.realpath(path))
    with naming_the_place(path), contextlib.ExitStack() as stack:
        real.parent.mkdir(parents=True, exist_ok=True)
        stack.enter_context(sole_use(path))
        # Asked again: what was made meanwhile would be found too late.
        refuse_existing(path, overwrite=overwrite)
        claim = _claimed_work_folder(path, real, continued)
        done = False
        try:
            result = claim.path / RESULT
            result.mkdir(exist_ok=True)
            result.chmod(0o777 & ~umask())
            yield claim.path
            # Asked again: somebody may have written there meanwhile.
            refuse_existing(path, overwrite=overwrite)
            give_name(result, real)
            done = True
        finally:
            if done or not keeps(claim.path):
                remove(claim.path)
            claim.release()


def _claimed_work_folder(path: Path, real: Path, continued: Path | None) -> Claim:
    if continued is not None:
        try:
            return claim_abandoned(continued)
        except BlockingIOError as problem:
            raise OutputError(
                f"another run is writing {path}", remedy=f"waiting for it, or {ANOTHER_FOLDER}"
            ) from problem
    remove_leftovers(real)
    return claim_folder(real)


def unfinished_folders(path: Path | str, keeps: Callable[[Path], bool]) -> list[Path]:
    """The work folders that runs into ``path`` left behind, the latest first.

    Those that a living run is writing are not among them.

    Args:
        path: the folder to be.
        keeps: as of :func:`growing_folder`.
    """
    found = []
    for place in leftovers_of(Path(os.path.realpath(path))):
        with contextlib.suppress(BlockingIOError):
            claim_abandoned(place).release()
            if keeps(place):
                found.append(place)
    return sorted(found, key=lambda place: place.stat().st_mtime, reverse=True)
