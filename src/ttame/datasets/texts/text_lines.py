"""Texts to explain: a line each, from a file or through a pipe."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from ttame.errors import DatasetError
from ttame.files.bounded_reading import (
    UnopenedFileError,
    UnreadableFileError,
    decode,
    read_bounded,
)
from ttame.files.json_files import checked_as, parse_json

LARGEST = 512 * 2**20
"""Bytes of a file."""

_FORMAT = (
    "a UTF-8 text file with one text per line; .tsv with a text, a tab and its pair per line; "
    '.jsonl with an object such as {"text": "a fine film", "id": "a"} per line'
)


_TABLES = (".csv", ".json")
"""Endings of files whose lines would be read as texts, marks and names of columns included."""


@dataclasses.dataclass(frozen=True)
class NamedText:
    """A text, or a pair of texts, with what its user calls it.

    Attributes:
        name: such as ``"line 3"``, or the ``id`` of a line of JSON.
        text: never empty.
        pair: the second text of a pair, if there is one.

    Example:
        >>> NamedText("line 1", "a man eats").given, NamedText("line 2", "a man", "a dog").given
        ('a man eats', ('a man', 'a dog'))
    """

    name: str
    text: str
    pair: str | None = None

    @property
    def given(self) -> str | tuple[str, str]:
        """As a classifier of texts takes it."""
        return self.text if self.pair is None else (self.text, self.pair)


def texts_fingerprint(texts: Iterable[NamedText]) -> str:
    """A short hash over names and texts; 16 hexadecimal digits.

    Example:
        >>> one, other = NamedText("line 1", "a man eats"), NamedText("line 1", "a man", "eats")
        >>> len(texts_fingerprint([one])), texts_fingerprint([one]) == texts_fingerprint([other])
        (16, False)
    """
    digest = hashlib.blake2b(digest_size=8)
    for text in texts:
        digest.update(json.dumps(dataclasses.astuple(text)).encode() + b"\n")
    return digest.hexdigest()


def read_text_lines(path: Path | str) -> tuple[NamedText, ...]:
    """Read the texts of a file; lines without anything on them are passed over.

    Args:
        path: its ending says how lines are read: ``.tsv`` as a text, or as a text, a tab and its
            pair; ``.jsonl`` as a JSON object with ``text`` (or ``tokens``), perhaps ``pair`` and
            ``id``; any other as a text, but for ``.csv`` and ``.json``, which are refused.

    Raises:
        DatasetError: the file cannot be read, holds no text, or has a line of another form; the
            message says which.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "pairs.tsv"
        ...     _ = path.write_text("a man eats\\tsomebody eats\\n\\na dog\\n")
        ...     for text in read_text_lines(path):
        ...         print(text.name, "|", text.text, "|", text.pair)
        line 1 | a man eats | somebody eats
        line 3 | a dog | None
    """
    path = Path(path)
    if path.suffix.lower() in _TABLES:
        raise DatasetError(f"{path}, which does not hold one text per line", allowed=_FORMAT)
    try:
        content = decode(read_bounded(path, LARGEST))
    except UnopenedFileError as problem:
        raise DatasetError(f"cannot read {path} ({problem})", allowed=_FORMAT) from problem
    except UnreadableFileError as problem:
        raise DatasetError(f"{path}: {problem}", allowed=_FORMAT) from problem
    return _texts(content, str(path), path.suffix.lower())


def piped_text_lines(file: BinaryIO) -> tuple[NamedText, ...]:
    """Read one text per line from standard input, or another open file.

    Raises:
        DatasetError: too much, nothing, or not UTF-8.

    Example:
        >>> import io
        >>> [text.text for text in piped_text_lines(io.BytesIO("schön\\nnot bad".encode()))]
        ['schön', 'not bad']
    """
    content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise DatasetError(f"more than {LARGEST} bytes on standard input", allowed=_FORMAT)
    try:
        return _texts(decode(content), "standard input", "")
    except UnreadableFileError as problem:
        raise DatasetError(f"standard input: {problem}", allowed=_FORMAT) from problem


@dataclasses.dataclass(frozen=True)
class _Line:
    """What a line of JSON may hold; other entries are passed over."""

    text: str | None = None
    tokens: str | None = None
    pair: str | None = None
    id: str | int | None = None


def _texts(content: str, place: str, ending: str) -> tuple[NamedText, ...]:
    texts = tuple(_read(content, place, ending))
    if not texts:
        raise DatasetError(f"{place} holds no text", allowed=_FORMAT)
    return texts


def _read(content: str, place: str, ending: str) -> Iterator[NamedText]:
    # Not splitlines(): a form feed or U+2028 may be part of a text.
    for number, line in enumerate(content.split("\n"), start=1):
        line = line.removesuffix("\r")
        if not line.strip():
            continue
        try:
            yield _one(line, f"line {number}", ending)
        except UnreadableFileError as problem:
            raise DatasetError(f"{place} line {number}: {problem}", allowed=_FORMAT) from problem


def _one(line: str, name: str, ending: str) -> NamedText:
    if ending == ".jsonl":
        return _of_json(line, name)
    if ending != ".tsv":
        return NamedText(name, line)
    parts = line.split("\t")
    if len(parts) > 2:
        raise UnreadableFileError(f"{len(parts)} columns, where a text and its pair are two")
    return _checked(NamedText(name, *parts))


def _of_json(line: str, name: str) -> NamedText:
    found = checked_as(_Line, parse_json(line))
    text = found.tokens if found.text is None else found.text
    if text is None:
        raise UnreadableFileError("an object without a text")
    return _checked(NamedText(name if found.id in (None, "") else str(found.id), text, found.pair))


def _checked(text: NamedText) -> NamedText:
    if not text.text.strip() or (text.pair is not None and not text.pair.strip()):
        raise UnreadableFileError("a text without a word")
    return text
