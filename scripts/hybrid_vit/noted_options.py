"""What a folder was made with, noted in it, so that nothing else is added to it later."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.hybrid_vit.readable_files import read_json_object
from ttame.files.atomic_writing import write_json


def note_or_compare(path: Path, description: Mapping[str, Mapping[str, Any]]) -> None:
    """Note what a run does, or make sure that a resumed run goes on with the same.

    Args:
        path: of a JSON file in the run's folder.
        description: heading to names and values.

    Raises:
        SystemExit: the file says something else, or cannot be read.
    """
    if not path.exists():
        write_json(path, description)
        return
    before = read_json_object(path, *description)
    if before != description:
        other = [
            f"{name} {before[part].get(name)}, now {value}"
            for part in description
            for name, value in description[part].items()
            if before[part].get(name) != value
        ]
        raise SystemExit(
            f"{path.parent} holds another run ({'; '.join(other)}); take another --out, "
            f"or delete {path.name} to go on regardless"
        )
