"""Texts whose words people marked as the reason for the label, one JSON object a line."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ttame.errors import DatasetError, kind_of
from ttame.files.bounded_reading import (
    UnopenedFileError,
    UnreadableFileError,
    decode,
    read_bounded,
)
from ttame.files.json_files import checked_as, parse_json
from ttame.files.printable_names import printable

LARGEST = 512 * 2**20
"""Bytes of a file, unpacked."""

LONGEST_LINE = 16 * 2**20
"""Characters of a line."""

_FORMAT = (
    'a line per text such as {"id": "a", "label": "pos", "tokens": "a fine film", '
    '"rationales": [[1, 2]]}, as .jsonl or .jsonl.gz'
)


@dataclasses.dataclass(frozen=True)
class AnnotatedText:
    """A text with what people said of it.

    Attributes:
        key: what tells it from the others.
        text: its words, between single spaces.
        label: name or number of its class; ``None`` if the data name none.
        rationales: half-open ranges of words that were marked as the reason for the label;
            ``None`` if nobody was asked.

    Example:
        >>> text = AnnotatedText("a", "not a fine film", "neg", ((0, 1), (2, 3)))
        >>> text.number_of_words, text.marked_words().tolist()
        (4, [True, False, True, False])
    """

    key: str
    text: str
    label: str | int | None = None
    rationales: tuple[tuple[int, int], ...] | None = None

    @property
    def number_of_words(self) -> int:
        """How many words it has."""
        return len(self.text.split())

    def marked_words(self) -> np.ndarray | None:
        """(W,) bool, the words inside the rationales; ``None`` if nobody was asked for any."""
        if self.rationales is None:
            return None
        bounds = np.array(self.rationales, dtype=np.int64).reshape(-1, 2)
        steps = np.zeros(self.number_of_words + 1, dtype=np.int64)
        np.add.at(steps, bounds[:, 0], 1)
        np.add.at(steps, bounds[:, 1], -1)
        marked: np.ndarray = np.cumsum(steps[:-1]) > 0
        return marked


class AnnotatedTexts:
    """The texts of a file of JSON lines, plain or gzipped.

    Each line is an object with ``tokens`` (words between single spaces), and perhaps ``id``,
    ``label`` and ``rationales`` (half-open ranges of word numbers, from 0). Other entries are
    passed over, blank lines too.

    Args:
        path: the path of the file.

    Raises:
        DatasetError: the file cannot be read, holds no text, or has a line that is not such an
            object, repeats an ``id``, or has a rationale beyond its text; the message says which.

    Example:
        >>> import tempfile
        >>> line = '{"id": "a", "label": "pos", "tokens": "a fine film", "rationales": [[1, 2]]}'
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "reviews.jsonl").write_text(line)
        ...     texts = AnnotatedTexts(Path(folder) / "reviews.jsonl")
        >>> len(texts), texts[0].marked_words()
        (1, array([False,  True, False]))
    """

    def __init__(self, path: Path | str) -> None:
        if not isinstance(path, str | os.PathLike):
            raise DatasetError(f"{kind_of(path)} as a file of texts", allowed=_FORMAT)
        self.path = Path(path)
        self._texts = tuple(_texts(self.path))
        if not self._texts:
            raise DatasetError(f"{path} holds no text", allowed=_FORMAT)

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, index: int) -> AnnotatedText:
        return self._texts[index]

    def fingerprint(self) -> str:
        """A short hash over everything that was read; 16 hexadecimal digits."""
        digest = hashlib.blake2b(digest_size=8)
        for text in self._texts:
            content = json.dumps(dataclasses.astuple(text))
            digest.update(content.encode() + b"\n")
        return digest.hexdigest()


@dataclasses.dataclass(frozen=True)
class _Line:
    """What a line may hold."""

    tokens: str
    id: str | int | None = None
    label: str | int | None = None
    rationales: list[tuple[int, int]] | None = None


def _texts(path: Path) -> Iterator[AnnotatedText]:
    seen: set[str] = set()
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        try:
            if len(line) > LONGEST_LINE:
                raise UnreadableFileError(f"more than {LONGEST_LINE} characters")
            text = _checked(checked_as(_Line, parse_json(line)), number)
        except UnreadableFileError as problem:
            raise DatasetError(f"{where}: {problem}", allowed=_FORMAT) from problem
        if text.key in seen:
            raise DatasetError(f"{where}: a second text with the id {printable(text.key)!r}")
        seen.add(text.key)
        yield text


def _lines(path: Path) -> list[str]:
    try:
        # Not splitlines(): a form feed or U+2028 may be part of a text.
        return decode(_unpacked(read_bounded(path, LARGEST))).split("\n")
    except UnopenedFileError as problem:
        raise DatasetError(f"cannot read {path} ({problem})", allowed=_FORMAT) from problem
    except UnreadableFileError as problem:
        raise DatasetError(f"{path}: {problem}", allowed=_FORMAT) from problem


def _unpacked(content: bytes) -> bytes:
    """The content of a gzip file; anything else as it is."""
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            unpacked = file.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as problem:
        raise UnreadableFileError(f"a damaged gzip file ({problem})") from problem
    if len(unpacked) > LARGEST:
        raise UnreadableFileError(f"more than {LARGEST} bytes, unpacked")
    return unpacked


def _checked(line: _Line, number: int) -> AnnotatedText:
    words = line.tokens.split()
    if not words:
        raise UnreadableFileError("a text without words")
    if words != line.tokens.split(" "):
        raise UnreadableFileError("its words are not separated by single spaces")
    for first, end in line.rationales or ():
        if not 0 <= first < end <= len(words):
            raise UnreadableFileError(f"rationale {first} to {end} in a text of {len(words)} words")
    return AnnotatedText(
        key=str(number if line.id is None else line.id),
        text=line.tokens,
        label=line.label,
        rationales=None if line.rationales is None else tuple(line.rationales),
    )
