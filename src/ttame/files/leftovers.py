"""Temporary names next to a result, and what killed runs left under them.

A run that is killed cannot tidy up. The next run into the same place does, and must not take what
a living run is still writing. So a writing process holds a lock (``flock``) on its temporary file
or folder. The system releases it when the process ends, however it ends, and it holds between
containers on one machine, where process numbers mean nothing. Where there are no such locks, what
nothing was written to for a week counts as left over.

For a target ``NAME`` the names are ``.NAME.ttame-xxxxxxxx.part`` for what is being written, and
``.NAME.ttame-xxxxxxxx.old`` for a result that is about to be replaced. By its lock, the empty file
``.NAME.ttame-occupied.part`` says that a run makes NAME. Nothing else is touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PART = ".part"
OLD = ".old"

_OCCUPIED = "occupied"

_OURS = re.compile(r"\..*\.ttame-[a-z0-9_]{8}\.part", re.DOTALL)
_LONGEST_NAME = 200
"""Bytes of a target's name that fit into a temporary name; file systems take 255."""
_WEEK = 7 * 24 * 3600.0


class Claim:
    """A temporary file or folder that is locked until it is released.

    Attributes:
        path: where it is.
    """

    def __init__(self, path: Path, handle: int | None) -> None:
        self.path = path
        self._handle = handle
        _claims.add(self)

    def release(self) -> None:
        """Give up the lock; what is at the path stays."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


_claims: weakref.WeakSet[Claim] = weakref.WeakSet()


def _leave_to_the_parent() -> None:
    """Let no forked process, such as one that reads photos, hold on to what a killed run held."""
    for claim in list(_claims):
        claim.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_the_parent)


def claim_file(target: Path) -> Claim:
    """Make an empty temporary file next to ``target``.

    Raises:
        OSError: the disk is full or the place is not writable.
    """
    return _claim(target, _new_file)


def claim_folder(target: Path) -> Claim:
    """Make an empty temporary folder next to ``target``.

    Raises:
        OSError: the disk is full or the place is not writable.
    """
    return _claim(target, _new_folder)


def claim_existing(path: Path) -> Claim:
    """Lock a folder that is there, as far as possible."""
    handle = _opened(path)
    if handle is not None:
        _lock(handle)
    return Claim(path, handle)


def claim_abandoned(path: Path) -> Claim:
    """Lock what a killed run left, to go on with it.

    Raises:
        BlockingIOError: a living run holds it.
    """
    handle = _opened(path)
    if handle is not None and _lock(handle) is False:
        os.close(handle)
        raise BlockingIOError(f"{path} is in use")
    return Claim(path, handle)


def claim_place(target: Path) -> Claim:
    """Lock the name of a result: a file next to it that says so, whether it was there or not.

    A process that has finished removes it, and then releases the claim.

    Raises:
        BlockingIOError: a living run holds it.
        OSError: the place is not writable.
    """
    path = target.parent / f"{_prefix(target)}{_OCCUPIED}{PART}"
    while True:
        handle = os.open(path, os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0), 0o666)
        claim = Claim(path, handle)
        if fcntl is None:  # Windows removes no open file.
            claim.release()
            return claim
        if _lock(handle) is False:
            claim.release()
            raise BlockingIOError(f"{target} is being written")
        # Another run may have finished, and removed the file, between opening and locking.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.lstat(path)):
                return claim
        claim.release()


def retired_name(target: Path) -> Path:
    """A free name for the result that a new one is about to replace."""
    return target.parent / f"{_prefix(target)}{secrets.token_hex(4)}{OLD}"


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder, as far as possible."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def leftovers_of(target: Path, suffix: str = PART) -> list[Path]:
    """The temporary files and folders of a target, of living runs and of killed ones.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     claim = claim_file(Path(folder) / "a.txt")
        ...     leftovers_of(Path(folder) / "a.txt") == [claim.path], leftovers_of(Path(folder))
        ...     claim.release()
        (True, [])
    """
    pattern = re.compile(re.escape(_prefix(target)) + r"[a-z0-9_]{8}" + re.escape(suffix))
    occupied = f"{_prefix(target)}{_OCCUPIED}{PART}"  # not a leftover to go on with
    names = [path for path in _entries(target.parent) if pattern.fullmatch(path.name)]
    return [path for path in names if path.name != occupied]


def remove_leftovers(target: Path) -> None:
    """Remove what killed runs left of a target; put a result back that was being replaced.

    What cannot be removed stays, without an error: it is in nobody's way.
    """
    put_back(target)
    occupied = target.parent / f"{_prefix(target)}{_OCCUPIED}{PART}"
    for path in (*leftovers_of(target), *leftovers_of(target, OLD), occupied):
        if os.path.lexists(path):
            _remove_if_left(path)


def remove_leftovers_below(folder: Path) -> None:
    """Remove what killed runs were writing anywhere below a folder, whatever its target."""
    for place, folders, files in os.walk(folder):
        ours = [name for name in (*folders, *files) if _OURS.fullmatch(name)]
        folders[:] = [name for name in folders if name not in ours]
        for name in ours:
            _remove_if_left(Path(place) / name)


def is_temporary(path: Path) -> bool:
    """Whether a file or folder has the name of one that is being written, or was.

    Example:
        >>> is_temporary(Path(".a.txt.ttame-0a1b2c3d.part")), is_temporary(Path("a.part"))
        (True, False)
    """
    return bool(_OURS.fullmatch(path.name))


def put_back(target: Path) -> None:
    """Give a result its name back that a run was killed while replacing."""
    if os.path.lexists(target):
        return
    for path in leftovers_of(target, OLD):
        handle = _opened(path)
        try:
            # A lock that someone holds says that the new result is about to get the name.
            if handle is None or _lock(handle) is not False:
                with contextlib.suppress(OSError):
                    os.rename(path, target)
                    return
        finally:
            if handle is not None:
                os.close(handle)


def _claim(target: Path, make: Callable[[Path], tuple[Path, int | None]]) -> Claim:
    while True:
        path, handle = make(target)
        locked = None if handle is None else _lock(handle)
        # Between making and locking, another run may have taken it for a leftover.
        if locked is not False and path.exists():
            return Claim(path, handle)
        if handle is not None:
            os.close(handle)


def _new_file(target: Path) -> tuple[Path, int | None]:
    handle, name = tempfile.mkstemp(prefix=_prefix(target), suffix=PART, dir=target.parent)
    if fcntl is None:  # Windows renames no open file.
        os.close(handle)
        return Path(name), None
    return Path(name), handle


def _new_folder(target: Path) -> tuple[Path, int | None]:
    path = Path(tempfile.mkdtemp(prefix=_prefix(target), suffix=PART, dir=target.parent))
    return path, _opened(path)


def _prefix(target: Path) -> str:
    name = target.name
    encoded = os.fsencode(name)
    if len(encoded) > _LONGEST_NAME:
        digest = hashlib.sha256(encoded).hexdigest()[:8]
        name = encoded[:_LONGEST_NAME].decode("utf-8", "ignore") + "~" + digest
    return f".{name}.ttame-"


def _entries(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            # A folder may hold a hundred thousand files; few of them begin with a dot.
            yield from [Path(entry.path) for entry in entries if entry.name.startswith(".")]
    except OSError:  # It does not exist yet, or may not be listed.
        return


def _opened(path: Path) -> int | None:
    """A handle that can be locked; ``None`` for links, pipes and what may not be opened."""
    if fcntl is None:
        return None
    with contextlib.suppress(OSError):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        if stat.S_ISREG(mode):
            # Network file systems lock only what was opened for writing.
            return os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    return None


def _lock(handle: int) -> bool | None:
    """Lock an open file or folder: true if done, false if another has it, ``None`` if there are
    no locks here."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _remove_if_left(path: Path) -> None:
    handle = _opened(path)
    try:
        locked = None if handle is None else _lock(handle)
        if locked is False or (locked is None and time.time() - _last_change(path) < _WEEK):
            return
        remove(path)
    finally:
        if handle is not None:
            os.close(handle)


def _last_change(path: Path) -> float:
    """When anything was last written at or below a path, in seconds since 1970."""
    times = [0.0]
    with contextlib.suppress(OSError):
        times.append(path.lstat().st_mtime)
        times += [inner.lstat().st_mtime for inner in path.rglob("*")]
    return max(times)
