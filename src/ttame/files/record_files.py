"""A JSON object with long lists of records, written and read one record at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from ttame.errors import OutputError
from ttame.files.bounded_reading import UnreadableFileError
from ttame.files.json_files import parse_json


def opened_for_text(path: Path) -> TextIO:
    """A file opened for writing UTF-8; file names in the text may hold bytes that are not UTF-8."""
    return path.open("w", encoding="utf-8", errors="backslashreplace")


def write_records(
    path: Path, about: Mapping[str, Any], lists: Mapping[str, Iterable[Mapping[str, Any]]]
) -> None:
    """Write one JSON object whose ``lists`` are never in memory as a whole.

    Args:
        path: the path of the file.
        about: what stands in front of the lists; at least one entry.
        lists: name to records; each record takes one line.

    Raises:
        ValueError: something holds NaN or infinity.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "photos.json"
        ...     write_records(path, {"title": "Why?"}, {"photos": [{"name": "a"}, {"name": "b"}]})
        ...     read_about(path, "photos"), list(read_records(path, "photos"))
        ({'title': 'Why?'}, [{'name': 'a'}, {'name': 'b'}])
    """
    described = json.dumps(about, indent=2, ensure_ascii=False, allow_nan=False, default=str)
    with opened_for_text(path) as file:
        file.write(described.removesuffix("\n}"))
        for name, records in lists.items():
            file.write(",\n" + _start(name))
            separator = "\n"
            for record in records:
                file.write(separator + json.dumps(record, ensure_ascii=False, allow_nan=False))
                separator = ",\n"
            file.write("\n  ]")
        file.write("\n}\n")


def read_about(path: Path, first: str) -> dict[str, Any]:
    """Read what :func:`write_records` wrote in front of its lists.

    Args:
        path: the path of the file.
        first: name of the first list.

    Raises:
        OutputError: the file cannot be read, or is not such a file.
    """
    lines: list[str] = []
    for line in _lines(path):
        if line == _start(first):
            return _parsed(path, "".join(lines).removesuffix(",") + "}")
        lines.append(line)
    raise _unreadable(path, f"it holds no list of {first}")


def read_records(path: Path, name: str) -> Iterator[dict[str, Any]]:
    """Read one of the lists that :func:`write_records` wrote, record by record.

    Raises:
        OutputError: the file cannot be read, or is not such a file.
    """
    inside = False
    for line in _lines(path):
        if inside and line.startswith("  ]"):
            return
        if inside:
            yield _parsed(path, line.removesuffix(","))
        inside = inside or line == _start(name)
    raise _unreadable(path, f"it holds no list of {name}")


def _start(name: str) -> str:
    return f"  {json.dumps(name)}: ["


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield line.rstrip("\n")
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8"
        raise _unreadable(path, str(reason)) from problem


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        record = parse_json(text)
    except UnreadableFileError as problem:
        raise _unreadable(path, str(problem)) from problem
    if not isinstance(record, dict):
        raise _unreadable(path, "a record is not an object")
    return record


def _unreadable(path: Path, reason: str) -> OutputError:
    return OutputError(f"{path} cannot be read ({reason})", allowed="a file that ttame wrote")
