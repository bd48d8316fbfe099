"""Opening what an earlier step wrote; a file that is missing or broken is named."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor


def read_json_object(path: Path, *names: str) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        SystemExit: the file is missing or holds no object with these names.
    """
    if not path.is_file():
        raise SystemExit(f"{path} is missing")
    return json_object(path.read_text(encoding="utf-8"), str(path), *names)


def json_object(text: str, place: str, *names: str) -> dict[str, Any]:
    """The object in a text.

    Raises:
        SystemExit: the text holds no object with these names; ``place`` says where it stands.
    """
    try:
        found = json.loads(text)
    except json.JSONDecodeError as problem:
        raise SystemExit(f"{place} is not JSON: {problem}") from problem
    if not isinstance(found, dict):
        raise SystemExit(f"{place} holds no JSON object")
    missing = [name for name in names if name not in found]
    if missing:
        raise SystemExit(f"{place} does not say {', '.join(missing)}")
    return found


@contextlib.contextmanager
def opened_tensors(path: Path) -> Iterator[Any]:
    """A safetensors file, as ``safetensors.safe_open`` gives it.

    Raises:
        SystemExit: the file, or a tensor that is asked for inside the block, cannot be read.
    """
    try:
        with safe_open(path, "pt") as tensors:
            yield tensors
    except SafetensorError as problem:
        raise SystemExit(f"{path} cannot be read: {problem}") from problem


def read_all_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file.

    Raises:
        SystemExit: it cannot be read.
    """
    with opened_tensors(path) as tensors:
        return {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
