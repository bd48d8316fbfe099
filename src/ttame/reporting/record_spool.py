"""Records that wait on the disk until a file can be joined from them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol


class Records(Protocol):
    """Some JSON records, read one by one, as often as wanted."""

    def __len__(self) -> int:
        """How many there are."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Read them in order."""


class RecordSpool:
    """A list of JSON records that takes no memory: it lives in a file without a name.

    Example:
        >>> with RecordSpool() as spool:
        ...     spool.append({"name": "a.png"})
        ...     len(spool), list(spool)
        (1, [{'name': 'a.png'}])
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Open an empty spool on the disk of ``folder``, or where temporary files go."""
        self._file = tempfile.TemporaryFile("w+", encoding="utf-8", dir=folder)  # noqa: SIM115
        self._length = 0

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record behind the others.

        Raises:
            ValueError: the record holds NaN or infinity.
        """
        self._file.write(json.dumps(record, allow_nan=False) + "\n")
        self._length += 1

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Read the records one by one; nothing may be appended meanwhile."""
        self._file.seek(0)
        for line in self._file:
            yield json.loads(line)
        self._file.seek(0, 2)

    def close(self) -> None:
        """Forget all records."""
        self._file.close()

    def __enter__(self) -> RecordSpool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
