"""Reading safetensors files that strangers made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ttame.files.bounded_reading import UnreadableFileError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def read_tensors(
    path: Path | str, device: torch.device | str = "cpu"
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file.

    Args:
        path: of the file.
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
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    try:
        if not path.is_file():
            raise UnreadableFileError("it is a folder" if path.is_dir() else "no such file")
        with safe_open(str(path), framework="pt", device=str(device)) as file:
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
