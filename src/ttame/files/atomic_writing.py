"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttame.errors import (
    ANOTHER_FOLDER,
    OutputError,
    either,
    setting,
)
from ttame.files.folder_exchange import exchange
from ttame.files.leftovers import (
    claim_existing,
    claim_file,
    claim_folder,
    put_back,
    remove,
    remove_leftovers,
    retired_name,
)

if TYPE_CHECKING:
    from torch import Tensor

_REMEDIES = {
    errno.EACCES: "a place you may write to",
    errno.EPERM: "a place you may write to",
    errno.EROFS: "a place you may write to",
    errno.ENOTDIR: ANOTHER_FOLDER,
    errno.ENAMETOOLONG: f"a shorter {setting('folder')}",
}
"""What helps against errors of the system. Where memory is short, for one, another place would not.
"""

_WRITTEN_BY_US = {
    "checkpoint.safetensors",
    "explainer.safetensors",
    "explanations.json",
    "explanations_manifest.json",
    "learning_rate.json",
    "training.jsonl",
}
"""In each folder that a command has begun or finished to write."""


@contextlib.contextmanager
def whole_file(path: Path | str, *, swept: bool = False) -> Iterator[Path]:
    """Yield a temporary path next to ``path``; rename it to ``path`` if the block succeeds.

    An existing file stays as it was until the rename, and for good if the block fails.

    Args:
        path: the path of the file.
        swept: whether what killed runs left in the folder was removed before. Looking for it
            takes as long as the folder has files: too long for each of a hundred thousand.

    Raises:
        OutputError: the disk is full or the place is not writable.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with whole_file(Path(folder) / "a.txt") as temporary:
        ...         _ = temporary.write_text("whole")
        ...     (Path(folder) / "a.txt").read_text()
        'whole'
    """
    path = Path(path)
    with naming_the_place(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not swept:
            remove_leftovers(path)
        claim = claim_file(path)
        try:
            # Temporary files are made private; a result is as readable as any other new file.
            claim.path.chmod(0o666 & ~umask())
            yield claim.path
            _flush_to_disk(claim.path)
            os.replace(claim.path, path)
        finally:
            claim.path.unlink(missing_ok=True)
            claim.release()


@contextlib.contextmanager
def whole_folder(path: Path | str, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder next to ``path``; rename it to ``path`` if the block succeeds.

    With ``overwrite`` an existing folder is replaced only after the new one is complete. A kill at
    any moment leaves the old or the new one there, and the next call removes what else it left.
    A power cut is another matter: the files are not flushed to the disk one by one.

    Raises:
        OutputError: ``path`` exists and ``overwrite`` is false, the disk is full, or the place
            is not writable.
    """
    path = Path(path)
    refuse_existing(path, overwrite=overwrite)
    refuse_mount_point(path)
    # Of a link, what it leads to is replaced; so is a folder that is called ".".
    real = Path(os.path.realpath(path))
    with naming_the_place(path):
        real.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(real)
        claim = claim_folder(real)
        try:
            claim.path.chmod(0o777 & ~umask())
            yield claim.path
            # Asked again: somebody may have written there meanwhile.
            refuse_existing(path, overwrite=overwrite)
            give_name(claim.path, real)
        finally:
            remove(claim.path)
            claim.release()


def give_name(made: Path, path: Path) -> None:
    """Rename a folder; afterwards ``made`` is gone, or is what was at ``path`` before.

    Where the system cannot exchange two folders at once there is a moment without either.
    A run that is killed just then leaves the old one as ``.NAME.….old``, and the next that looks
    there puts it back.
    """
    if not path.exists() or not any(path.iterdir()):
        os.replace(made, path)
        return
    if exchange(made, path):
        return
    retired = claim_existing(path)
    old = retired_name(path)
    try:
        os.replace(path, old)
        os.replace(made, path)
    finally:
        if not path.exists():
            os.replace(old, path)
        remove(old)
        retired.release()


def refuse_existing(path: Path | str, *, overwrite: bool) -> None:
    """Raise unless ``path`` is free, an empty folder, or one of ours that may be overwritten.

    Commands call this before any long work, so that nothing is computed in vain. Overwriting
    replaces a whole folder, so it is only done where ttame wrote: never to a folder of photos.

    Raises:
        OutputError: ``path`` exists and is not an empty folder, or holds what ttame did not write.
    """
    path = Path(path)
    put_back(Path(os.path.realpath(path)))
    if path.is_dir():
        names = {entry.name for entry in path.iterdir()}
        ours = names & _WRITTEN_BY_US
        if not names or (overwrite and ours):
            return
        if not ours:
            raise OutputError(
                f"folder {path} exists, holds {min(names)!r} and nothing that ttame wrote",
                remedy=f"{ANOTHER_FOLDER}, or emptying it yourself",
            )
        raise OutputError(
            f"folder {path} exists",
            remedy=f"{ANOTHER_FOLDER}, or {setting('overwrite', True)}",
        )
    if path.exists():
        raise OutputError(f"{path} is a file", allowed="a folder", remedy=ANOTHER_FOLDER)


def refuse_mount_point(path: Path | str) -> None:
    """Raise if a finished folder could not take the name of ``path``.

    Raises:
        OutputError: a disk, or a volume of a container, is mounted there.
    """
    if os.path.ismount(os.path.realpath(path)):
        raise OutputError(
            f"{path} is where a disk or a container's volume begins, and cannot be replaced",
            remedy="a folder inside it" + either("", " as --out"),
        )


def write_json(path: Path | str, content: Mapping[str, Any]) -> None:
    """Write ``content`` as indented UTF-8 JSON, whole or not at all.

    Raises:
        OutputError: the disk is full or the place is not writable.
        ValueError: ``content`` holds NaN or infinity, which JSON does not have.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with whole_file(path) as temporary:
        # File names may hold bytes that are no UTF-8; JSON escapes them.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_tensors(
    path: Path | str,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
    *,
    swept: bool = False,
) -> None:
    """Write ``tensors`` as one safetensors file, whole or not at all.

    Args:
        path: where the file goes.
        tensors: name to tensor, any device; copied to the CPU, made contiguous.
        metadata: strings that go into the file's header.
        swept: as of :func:`whole_file`.

    Raises:
        OutputError: the disk is full or the place is not writable.
    """
    # Serialising to bytes first makes a full disk an OSError like every other one.
    from safetensors.torch import save

    content = save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        dict(metadata) if metadata else None,
    )
    write_bytes(path, content, swept=swept)


def write_bytes(path: Path | str, content: bytes, *, swept: bool = False) -> None:
    """Write a file, whole or not at all.

    Args:
        path: the path of the file.
        content: all of it.
        swept: as of :func:`whole_file`.

    Raises:
        OutputError: the disk is full or the place is not writable.
    """
    with whole_file(path, swept=swept) as temporary:
        temporary.write_bytes(content)


def _flush_to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def umask() -> int:
    """The permissions that new files of this process do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def naming_the_place(path: Path) -> Iterator[None]:
    """Say in one line what could not be written, and what to do.

    Raises:
        OutputError: the disk is full or the place is not writable.
    """
    try:
        yield
    except OSError as problem:
        raise _output_error(path, problem) from problem


def _output_error(path: Path, problem: OSError) -> OutputError:
    if problem.errno == errno.ENOSPC:
        return OutputError(
            f"the disk is full while writing {path}",
            remedy=f"free some space, or write to {ANOTHER_FOLDER}",
        )
    reason = problem.strerror or str(problem)
    remedy = _REMEDIES.get(problem.errno or 0, "")
    return OutputError(f"cannot write {path} ({reason})", remedy=remedy)
