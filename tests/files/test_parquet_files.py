"""Parquet files that are damaged, endless or of others: one reason, whatever Arrow raises."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from ttame.files import parquet_files
from ttame.files.bounded_reading import UnreadableFileError
from ttame.files.parquet_files import (
    checked_table,
    naming_damage,
    opened_parquet,
    write_parquet,
)

SCHEMA = pyarrow.schema([("a", pyarrow.int32()), ("b", pyarrow.float64())])


def table(**columns: Any) -> Any:
    given = {"a": [1, 2], "b": [0.5, 1.5], **columns}
    return pyarrow.table(given, schema=SCHEMA)


def read(content: bytes, columns: list[str] | None = None) -> Any:
    with naming_damage():
        return checked_table(opened_parquet(content).read(use_threads=False), SCHEMA, columns)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", table())
    content = (tmp_path / "a.parquet").read_bytes()
    assert read(content).to_pylist() == [{"a": 1, "b": 0.5}, {"a": 2, "b": 1.5}]
    assert read(content, ["b"]).to_pydict() == {"b": [0.5, 1.5]}
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_each_changed_byte_of_values_is_noticed(tmp_path: Path) -> None:
    plain = {"compression": "NONE", "use_dictionary": False, "write_statistics": False}
    write_parquet(tmp_path / "a.parquet", table(), **plain)
    content = (tmp_path / "a.parquet").read_bytes()
    place = content.index(b"\x00\x00\x00\x00\x00\x00\xe0\x3f")  # 0.5
    with pytest.raises(UnreadableFileError, match="CRC"):
        read(content[:place] + b"\x01" + content[place + 1 :])
    with pytest.raises(UnreadableFileError):
        read(content[:-9])


def test_other_columns_and_missing_values() -> None:
    for other in (table().append_column("c", [[1, 2]]), table().select(["a"])):
        with pytest.raises(UnreadableFileError, match="its columns are not the expected ones"):
            read(written(other))
    with pytest.raises(UnreadableFileError, match="values are missing"):
        read(written(table(b=[None, 1.0])))


def test_a_few_bytes_may_not_stand_for_any_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_files, "MOST_ROWS", 1)
    with pytest.raises(UnreadableFileError, match="too many rows"):
        read(written(table()))


def written(what: Any) -> bytes:
    file = io.BytesIO()
    parquet.write_table(what, file)
    return file.getvalue()
