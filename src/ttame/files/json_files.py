"""JSON that strangers made: read in bounded time and memory, or refused in one line.

Python's own reader takes NaN and infinity, which are not JSON; stops with RecursionError at deep
nesting; and refuses huge integers with a hint for programmers.
"""

from __future__ import annotations

import functools
import json
import math
import re
from pathlib import Path
from typing import Any, TypeVar, cast

from ttame.errors import kind_of
from ttame.files.bounded_reading import UnreadableFileError, read_text

LARGEST = 64 * 2**20
"""Bytes that a JSON file may have unless its reader says otherwise."""

DEEPEST = 64
"""How deeply lists and objects may be nested."""

T = TypeVar("T")

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_ALL_BUT_QUOTES_AND_BRACKETS = bytes(set(range(256)) - set(b'"[]{}'))
_BRACKETS_ALIKE = bytes.maketrans(b"{}", b"[]")
_DIGITS_ALIKE = bytes.maketrans(b"123456789E", b"000000000e")


def read_json(path: Path | str, *, largest: int = LARGEST, allow_nan: bool = False) -> Any:
    """Read a JSON file.

    Args:
        path: the path of the file, UTF-8.
        largest: how many bytes it may have.
        allow_nan: whether ``NaN`` and ``Infinity`` are numbers.

    Raises:
        UnreadableFileError: one line that says why, without the file's name.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "a.json").write_text('{"a": 1}')
        ...     read_json(Path(folder) / "a.json")
        {'a': 1}
    """
    return parse_json(read_text(path, largest), allow_nan=allow_nan)


def read_json_object(path: Path | str) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        UnreadableFileError: see :func:`read_json`; or it holds something else.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "a.json").write_text("[1]")
        ...     read_json_object(Path(folder) / "a.json")
        Traceback (most recent call last):
        ttame.files.bounded_reading.UnreadableFileError: it holds a list, not an object
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise UnreadableFileError(f"it holds {kind_of(content)}, not an object")
    return content


def parse_json(text: str, *, allow_nan: bool = False) -> Any:
    """Parse JSON: finite numbers, whole ones of at most 64 bits, nesting no deeper than 64.

    Args:
        text: the document.
        allow_nan: whether ``NaN`` and ``Infinity`` are numbers too.

    Raises:
        UnreadableFileError: one line that says why.

    Example:
        >>> parse_json('{"a": [1, 2.5]}')
        {'a': [1, 2.5]}
        >>> parse_json("[NaN]")
        Traceback (most recent call last):
        ttame.files.bounded_reading.UnreadableFileError: it holds NaN, which is not JSON
    """
    content = text.encode("utf-8", "surrogatepass")
    if _is_deep(content):
        raise UnreadableFileError(f"nested more than {DEEPEST} deep")
    long = _has_long_numbers(content)
    try:
        return json.loads(
            text,
            parse_constant=None if allow_nan else _refuse_constant,
            parse_int=_bounded_int if long else None,
            parse_float=_finite_float if long and not allow_nan else None,
        )
    except json.JSONDecodeError as problem:
        raise UnreadableFileError(f"not JSON: {problem}") from problem
    except MemoryError as problem:
        raise UnreadableFileError("not enough memory") from problem


def checked_as(kind: type[T], content: Any) -> T:
    """Build a dataclass, and those in it, from parsed JSON.

    Args:
        kind: the dataclass. Lists become its tuples.
        content: what :func:`parse_json` gave.

    Raises:
        UnreadableFileError: a value is missing or of a wrong type; names the first one.

    Example:
        >>> import dataclasses
        >>> Point = dataclasses.make_dataclass("Point", [("x", float), ("y", float)])
        >>> checked_as(Point, {"x": 1, "y": 2})
        Point(x=1.0, y=2.0)
        >>> checked_as(Point, {"x": 1})
        Traceback (most recent call last):
        ttame.files.bounded_reading.UnreadableFileError: broken at 'y': Field required
    """
    import pydantic

    try:
        found: T = _adapter(cast("Any", kind)).validate_python(content)
    except pydantic.ValidationError as problem:
        first = problem.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part)[:40] for part in first["loc"])
        at = f"broken at {where!r}: " if where else ""
        what = "not an object" if first["type"] == "dataclass_type" else first["msg"]
        raise UnreadableFileError(at + what) from problem
    return found


@functools.cache
def _adapter(kind: Any) -> Any:
    import pydantic

    return pydantic.TypeAdapter(kind)


def _is_deep(content: bytes) -> bool:
    """Whether lists and objects are nested too deeply; of millions of brackets in a moment.

    Example:
        >>> _is_deep(b"[" * 65 + b"]" * 65), _is_deep(b'[{"a": "[[["}, [1]]')
        (True, False)
    """
    if b"\\" not in content:
        # Without escapes nothing but quotes and brackets matters, which makes large files short;
        # leaving out two quotes in a row changes nothing about what is inside a string.
        content = content.translate(None, _ALL_BUT_QUOTES_AND_BRACKETS).replace(b'""', b"")
    if b'"' in content:
        content = _STRING.sub(b"", content)
    brackets = content.translate(_BRACKETS_ALIKE, _ALL_BUT_QUOTES_AND_BRACKETS)
    for _ in range(DEEPEST):
        if not brackets or b"[" * (DEEPEST + 1) in brackets:
            return bool(brackets)
        brackets = brackets.replace(b"[]", b"")  # the innermost ones
    # What closes before it opens, and what never closes, is for the reader to refuse.
    return len(brackets) > DEEPEST if b"]" not in brackets else brackets[:1] == b"["


def _has_long_numbers(content: bytes) -> bool:
    """Whether a number may be too large; most files have none, and checking each takes long."""
    alike = content.translate(_DIGITS_ALIKE, b"+")
    return b"0" * 19 in alike or b"0e000" in alike


def _refuse_constant(name: str) -> float:
    raise UnreadableFileError(f"it holds {name}, which is not JSON")


def _bounded_int(text: str) -> int:
    value = int(text) if len(text) <= 20 else 2**64
    if not -(2**63) <= value < 2**64:
        raise UnreadableFileError(f"it holds a whole number of more than 64 bits, {text[:20]}…")
    return value


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise UnreadableFileError(f"it holds a number that is too large, {text[:20]}…")
    return value
