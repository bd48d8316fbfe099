"""Reading what ``torch.save`` wrote, by torch's restricted reader, which runs no code of the file.

The reader builds tensors, numbers, texts, lists and tables. Anything else a pickle can ask for is
refused before it is made. This is the only module that calls ``torch.load``.
"""

from __future__ import annotations

import dataclasses
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from ttame.errors import WeightsError, kind_of
from ttame.memory_limit import ran_out_of_memory

LARGEST_FILE = 64 * 2**30
"""Bytes of a file of weights; larger ones are not opened."""

TORCH_SUFFIXES = frozenset({".pth", ".pt", ".bin", ".ckpt", ".pkl", ".pickle", ".th", ".tar"})
"""How files that ``torch.save`` writes are usually called."""

PLAIN_ENTRIES = (
    *("state_dict", "model_state_dict", "model", "net"),
    *("network", "weights", "params", "net_state_dict"),
)
"""Where training loops keep the weights; the first one that holds tensors is read."""

AVERAGED_ENTRIES = (
    *("state_dict_ema", "model_ema", "ema"),
    *("ema_state_dict", "model_state_dict_ema", "params_ema", "ema_model"),
)
"""Where they keep averaged weights, which are read if there are no others."""

_DEEPEST = 3
"""Tables inside each other; a file may nest them without end."""

_ALLOWED = "what torch.save(network.state_dict(), FILE) writes, or a .safetensors file"

_GLOBAL = re.compile(r"GLOBAL (\S+)")
"""What torch's message says was refused."""


@dataclasses.dataclass(frozen=True)
class FoundWeights:
    """Weights as they stand in a file.

    Attributes:
        tensors: name to tensor, on the CPU.
        entry: where in the table of a training loop they were, dots between nested entries; empty
            for a plain state dict.
        passed_over: other entries of that table that hold weights too.
    """

    tensors: dict[str, Tensor]
    entry: str = ""
    passed_over: tuple[str, ...] = ()


def read_torch_file(path: Path) -> FoundWeights:
    """Read the weights in a file of ``torch.save``: a state dict, or one in a training checkpoint.

    Args:
        path: the path of a regular file.

    Raises:
        WeightsError: the file is damaged or too large, holds no state dict, or would need more
            than tensors and plain data, which could run code.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "checkpoint.pth")
        ...     torch.save({"epoch": 3, "model": {"fc.weight": torch.ones(2, 2)}}, path)
        ...     found = read_torch_file(path)
        >>> list(found.tensors), found.entry
        (['fc.weight'], 'model')
    """
    content = _restricted(path)
    found = _weights_in(content, _DEEPEST)
    if found is None:
        raise _without_weights(path, content)
    return found


def _restricted(path: Path) -> Any:
    archive = _checked_archive(path)
    try:
        # Tensors of an archive are mapped from the file, so that memory is taken once.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except UnpicklingError as problem:
        raise _needs_more(path, problem) from problem
    except Exception as problem:  # a damaged file can fail anywhere in the reader
        if ran_out_of_memory(problem):
            raise WeightsError(f"{path} does not fit into memory") from problem
        raise _damaged(path) from problem


def _checked_archive(path: Path) -> bool:
    """Whether it is an archive, as torch has written since 2020; refused if it may burst."""
    if path.stat().st_size > LARGEST_FILE:
        raise WeightsError(f"{path} is larger than {LARGEST_FILE // 2**30} GiB")
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            packed = any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as problem:
        raise _damaged(path) from problem
    if packed:
        raise WeightsError(
            f"{path} is a compressed archive, which torch.save does not write", allowed=_ALLOWED
        )
    return True


def _damaged(path: Path) -> WeightsError:
    return WeightsError(f"{path} is not a file of torch.save, or damaged", allowed=_ALLOWED)


def _needs_more(path: Path, problem: UnpicklingError) -> WeightsError:
    """What the file asks for besides tensors, and the way out."""
    needed = _asked_for(path, problem)
    if not needed:
        return _damaged(path)
    shown = ", ".join(needed[:3]) + (", …" if len(needed) > 3 else "")
    whole = any(name.startswith("torch.nn.modules.") for name in needed)
    inside = "network.state_dict(), 'weights.pth'" if whole else "network[ENTRY], 'weights.pth'"
    return WeightsError(
        f"{path} holds more than tensors ({shown}), which could run code when it is opened",
        allowed="a state dict, alone or in the dict of a training loop",
        remedy="where you trust the file, in Python: network = torch.load(FILE, "
        f"weights_only=False); torch.save({inside})",
    )


def _asked_for(path: Path, problem: UnpicklingError) -> list[str]:
    """The classes and functions that the file names and the restricted reader does not make."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(os.fspath(path)))
    except Exception:  # a file of before 2020, of which only the first refusal is known
        return _GLOBAL.findall(str(problem))[:1]


def _weights_in(content: Any, depth: int) -> FoundWeights | None:
    """The state dict that a table is or holds."""
    if not isinstance(content, Mapping) or depth == 0:
        return None
    held = {
        entry: found
        for entry in (*PLAIN_ENTRIES, *AVERAGED_ENTRIES)
        if (found := _weights_in(content.get(entry), depth - 1)) is not None
    }
    if held:
        entry, found = next(iter(held.items()))
        trail = f"{entry}.{found.entry}" if found.entry else entry
        return FoundWeights(found.tensors, trail, (*held,)[1:])
    tensors = {
        name: value
        for name, value in content.items()
        if isinstance(value, Tensor) and isinstance(name, str)
    }
    return FoundWeights(tensors) if tensors else None


def _without_weights(path: Path, content: Any) -> WeightsError:
    if isinstance(content, Mapping):
        names = [str(name)[:60] for name in list(content)[:5]]
        holds = f"a table of {', '.join(names)}" if names else "an empty table"
    else:
        holds = f"{kind_of(content)}"
    return WeightsError(
        f"{path} holds {holds}, and no state dict",
        allowed="a state dict, alone or under " + ", ".join([*PLAIN_ENTRIES, *AVERAGED_ENTRIES]),
        remedy="torch.save(network.state_dict(), 'weights.pth')",
    )
