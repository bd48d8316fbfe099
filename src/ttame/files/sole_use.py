"""One run at a time into one place: a second one is refused before it can do harm.

A folder that grows under its own name is locked itself. A result that appears whole in the end has
no folder yet, so an empty file next to it is locked. The system releases the locks when a process
ends, however it ends; where it has none, as on some network drives, nobody is refused.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from ttame.errors import ANOTHER_FOLDER, OutputError
from ttame.files.leftovers import Claim, claim_abandoned, claim_place


class FolderUse:
    """The right to write into a folder, which one run at a time has; given up in the end.

    Args:
        folder: the folder of the run; a link stands for what it leads to.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, FolderUse(Path(folder)) as use:
        ...     use.take()
        ...     with FolderUse(Path(folder)) as other:
        ...         try:
        ...             other.take()
        ...         except OutputError as problem:
        ...             problem.remedy
        'waiting for it, or another folder'
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._claim: Claim | None = None

    def take(self) -> None:
        """Take it if the folder is there; a process that has it already keeps it.

        Raises:
            OutputError: another run has it.
        """
        if self._claim is None and self._folder.is_dir():
            try:
                self._claim = claim_abandoned(Path(os.path.realpath(self._folder)))
            except BlockingIOError as problem:
                raise _in_use(self._folder) from problem

    def __enter__(self) -> FolderUse:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._claim is not None:
            self._claim.release()
            self._claim = None


@contextlib.contextmanager
def sole_use(path: Path) -> Iterator[None]:
    """Keep other runs from making a result that is to appear at ``path`` in the end.

    Raises:
        OutputError: another run makes it.
        OSError: the place is not writable.
    """
    try:
        claim = claim_place(Path(os.path.realpath(path)))
    except BlockingIOError as problem:
        raise _in_use(path) from problem
    try:
        yield
    finally:
        claim.path.unlink(missing_ok=True)
        claim.release()


def _in_use(path: Path) -> OutputError:
    return OutputError(
        f"another run is writing {path}", remedy=f"waiting for it, or {ANOTHER_FOLDER}"
    )
