"""Reading safetensors files that strangers made."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttame.files.bounded_reading import UnreadableFileError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def read_tensors(
    path: Path | str, device: torch.device | str = "cpu"
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file.

    Args:
        path: the path of the file.
        device: where the tensors go.

    Returns:
        Name to tensor, and the strings of the file's header.

    Raises:
        UnreadableFileError: one line that says why, without the file's name.
        torch.OutOfMemoryError: the device is too small.

    Example:
        >>> import tempfile, torch
        >>> from safetensors.torch import save_file
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_file({"a": torch.ones(2)}, Path(folder) / "a.safetensors", {"by": "me"})
        ...     read_tensors(Path(folder) / "a.safetensors")
        ({'a': tensor([1., 1.])}, {'by': 'me'})
    """
    import torch
    from safetensors import SafetensorError

    path = Path(path)
    try:
        if not path.is_file():
            raise UnreadableFileError("it is a folder" if path.is_dir() else "no such file")
        with opened_tensors(path, device) as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
    except (UnreadableFileError, torch.OutOfMemoryError):
        raise
    except MemoryError as problem:
        raise UnreadableFileError("not enough memory") from problem
    # The reader of safetensors raises its own error for most damage; torch and Python raise others
    # for headers that are well-formed and mean nothing, such as odd types and endless shapes.
    except (
        SafetensorError,
        OSError,
        RuntimeError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        OverflowError,
    ) as problem:
        reason = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise UnreadableFileError(reason) from problem


@contextlib.contextmanager
def opened_tensors(path: Path, device: torch.device | str = "cpu") -> Iterator[Any]:
    """``safetensors.safe_open``, also for names that are not UTF-8, which it does not take itself.

    Raises:
        SafetensorError, OSError: the file cannot be read.
    """
    from safetensors import safe_open

    with contextlib.ExitStack() as stack:
        place = str(path)
        if place != place.encode("utf-8", "replace").decode():
            handle = os.open(path, os.O_RDONLY)
            stack.callback(os.close, handle)
            place = f"/dev/fd/{handle}"
        yield stack.enter_context(safe_open(place, framework="pt", device=str(device)))
