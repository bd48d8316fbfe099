"""Parquet files: written whole, and read so that a stranger's file does no harm."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ttame.errors import MissingExtraError
from ttame.files.atomic_writing import whole_file
from ttame.files.bounded_reading import UnreadableFileError

MOST_ROWS = 10_000_000
"""Of one file."""


def arrow(purpose: str) -> Any:
    """The package pyarrow, with its module ``parquet``.

    Args:
        purpose: what needs it, in the plural, for the error.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as problem:
        raise MissingExtraError.of("pyarrow", "evaluate", purpose) from problem
    return pyarrow


def write_parquet(path: Path, table: Any, *, swept: bool = False, **options: Any) -> None:
    """Write an Arrow table, whole or not at all, with a checksum for each page.

    Args:
        path: the path of the file.
        table: an Arrow table.
        swept: as of :func:`ttame.files.atomic_writing.whole_file`.
        options: the options of ``pyarrow.parquet.write_table``.

    Raises:
        OutputError: the disk is full or the place is not writable.
    """
    from pyarrow import parquet

    # Arrow gets open files everywhere: it takes no name that is not UTF-8.
    with whole_file(path, swept=swept) as temporary, temporary.open("wb") as file:
        parquet.write_table(table, file, write_page_checksum=True, **options)


def opened_parquet(content: bytes) -> Any:
    """A Parquet file in memory, read by the caller's thread and by no other.

    A damaged file makes Arrow give up while threads of its own still read: now and then the
    process crashed. Bytes of ours and no read-ahead leave no such threads.

    Args:
        content: the content of the file.

    Returns:
        A ``pyarrow.parquet.ParquetFile``; to be used within :func:`naming_damage`.
    """
    import pyarrow
    from pyarrow import parquet

    file = parquet.ParquetFile(
        pyarrow.BufferReader(content), pre_buffer=False, page_checksum_verification=True
    )
    # A few bytes may stand for any number of equal rows.
    if file.metadata.num_rows > MOST_ROWS:
        raise UnreadableFileError("too many rows")
    return file


def checked_table(table: Any, schema: Any, columns: Sequence[str] | None = None) -> Any:
    """A table that was read, if it is what was written: these columns, and no value missing.

    Args:
        table: with all columns of the file.
        schema: that it must have.
        columns: which to return; all if not given.

    Raises:
        UnreadableFileError: it is not.
    """
    if not table.schema.equals(schema):
        raise UnreadableFileError("its columns are not the expected ones")
    table.validate(full=True)
    table = table.select(columns or table.column_names)
    if any(column.null_count for column in table.columns):
        raise UnreadableFileError("values are missing")
    return table


@contextlib.contextmanager
def naming_damage() -> Iterator[None]:
    """Say in one line what is wrong with a file; Arrow has an error for each of Python's.

    Raises:
        UnreadableFileError: why it cannot be read.
    """
    import pyarrow

    try:
        yield
    except UnreadableFileError:
        raise
    except (
        pyarrow.ArrowException,
        OSError,
        ValueError,
        TypeError,
        LookupError,
        MemoryError,
    ) as problem:
        reason = (str(problem).splitlines() or ["unreadable"])[0]
        raise UnreadableFileError(reason) from problem
