"""Two folders change names at once, where the system can do that."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

_THIS_FOLDER = -100  # AT_FDCWD: relative paths start where the process is.
_EXCHANGE = 2  # RENAME_EXCHANGE
_CANNOT = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM}
"""What systems and file systems say that know no exchange."""


def exchange(first: Path, second: Path) -> bool:
    """Let two files or folders of one file system change names; nobody sees either name missing.

    Returns:
        False if it cannot be done here; nothing has changed then. Linux can on most file systems,
        network file systems excepted.

    Raises:
        OSError: one of them does not exist, or may not be renamed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     places = Path(folder, "a"), Path(folder, "b")
        ...     for place in places:
        ...         _ = place.write_text(place.name)
        ...     done = exchange(*places)
        ...     [place.read_text() for place in places] == (["b", "a"] if done else ["a", "b"])
        True
    """
    if sys.platform != "linux":
        return False
    import ctypes

    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    path, number = ctypes.c_char_p, ctypes.c_int
    rename.argtypes = (number, path, number, path, ctypes.c_uint)
    places = _THIS_FOLDER, os.fsencode(first), _THIS_FOLDER, os.fsencode(second)
    if rename(*places, _EXCHANGE) == 0:
        return True
    problem = ctypes.get_errno()
    if problem in _CANNOT:
        return False
    raise OSError(problem, os.strerror(problem), str(first), None, str(second))
