"""What finished parts have found, so that a run which is stopped goes on, and one part can be
run again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from benchmarks.reliability.attempts import Attempted

ROOT = Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class Found:
    """What one part has found.

    Attributes:
        rows: of the table.
        seconds: it took.
        code: digest of the code that was attacked.
    """

    rows: tuple[Attempted, ...]
    seconds: float
    code: str

    @property
    def failures(self) -> int:
        """Of all rows."""
        return sum(row.failures for row in self.rows)


class KeptRows:
    """A JSON file of what parts have found.

    Args:
        path: of the file; made with the first part.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, Found]:
        """Name of each finished part to what it found."""
        if not self._path.is_file():
            return {}
        kept = json.loads(self._path.read_text(encoding="utf-8"))
        return {
            name: Found(
                tuple(Attempted(**row) for row in part["rows"]), part["seconds"], part["code"]
            )
            for name, part in kept.items()
        }

    def keep(self, name: str, found: Found) -> None:
        """Note what a part has found, in place of what it found before."""
        kept = {**self.read(), name: found}
        described = {part: dataclasses.asdict(of) for part, of in kept.items()}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
        part.replace(self._path)


def digest_of_code(root: Path = ROOT) -> str:
    """Changes when anything changes that the attacks run."""
    digest = hashlib.sha256()
    for folder in ("src/ttame", "benchmarks/reliability"):
        for file in sorted((root / folder).rglob("*.py")):
            digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def unfinished(wanted: Mapping[str, object], kept: Mapping[str, Found], code: str) -> list[str]:
    """The wanted parts that have not run on this code, or that have failed."""
    return [
        name
        for name in wanted
        if name not in kept or kept[name].code != code or kept[name].failures
    ]
