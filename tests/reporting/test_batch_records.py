from __future__ import annotations

from pathlib import Path

import pytest

from ttame.errors import OutputError
from ttame.reporting.batch_records import (
    BatchRecords,
    batch_file,
    finished_batches,
    numbers_of_finished,
    remove_batches,
    undamaged_batches,
)


def write(place: Path, number: int) -> None:
    with batch_file(place, number) as file:
        file.write("text", {"number": number, "text": "größer\u2028als\ttext {}"})
        file.write("skipped", {"name": "\udcff"})


def test_records_are_read_by_kind_in_the_order_of_the_batches(tmp_path: Path) -> None:
    for number in (12, 1_000_000, 3):
        write(tmp_path, number)
    assert numbers_of_finished(tmp_path) == {3, 12, 1_000_000}
    paths = undamaged_batches(tmp_path)
    texts = BatchRecords(paths, "text")
    assert len(texts) == 3 and [each["number"] for each in texts] == [3, 12, 1_000_000]
    assert {each["text"] for each in texts} == {"größer\u2028als\ttext {}"}
    assert [*BatchRecords(paths, "skipped")] == [{"name": "\udcff"}] * 3
    remove_batches(tmp_path)
    assert finished_batches(tmp_path) == []


def test_a_batch_that_failed_is_not_finished(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"), batch_file(tmp_path, 0) as file:
        file.write("text", {"score": float("nan")})
    assert finished_batches(tmp_path) == []


@pytest.mark.parametrize("content", [b"text {", b"text \xff\xfe\n", b""])
def test_what_is_not_as_it_was_written_is_refused(content: bytes, tmp_path: Path) -> None:
    write(tmp_path, 0)
    (path,) = finished_batches(tmp_path)
    changed = path.read_bytes().replace(b"gr", b"Gr")
    for damaged in (content, changed):
        path.write_bytes(damaged)
        with pytest.raises(OutputError, match="000000.jsonl is damaged.*try: deleting it"):
            undamaged_batches(tmp_path)
    path.write_bytes(content)
    if content:
        with pytest.raises(OutputError, match="damaged"):
            list(BatchRecords([path], "text"))
