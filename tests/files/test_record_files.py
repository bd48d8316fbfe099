from pathlib import Path

import pytest

from ttame.errors import OutputError
from ttame.files.record_files import read_about, read_records, write_records

ABOUT = {"title": "Löwe", "methods": [{"name": "cam", "options": {"images": []}}]}


def test_lists_come_back_record_by_record(tmp_path: Path) -> None:
    records = [{"name": "a\n\u2028b"}, {"name": "caf\udce9.png", "images": [1, 2]}]
    write_records(tmp_path / "a.json", ABOUT, {"images": records, "skipped": []})
    assert read_about(tmp_path / "a.json", "images") == ABOUT
    assert list(read_records(tmp_path / "a.json", "images")) == records
    assert list(read_records(tmp_path / "a.json", "skipped")) == []


def test_nothing_is_written_that_json_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_records(tmp_path / "a.json", ABOUT, {"images": [{"a": float("inf")}]})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        (b'{"images": []}', "no list of images"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{\n  "images": [\n{"a": NaN}\n  ]\n}\n', "NaN"),
        (b'{\n  "images": [\n3\n  ]\n}\n', "not an object"),
        (b'{\n  "images": [\n{"a": 1}', "no list of images"),
    ],
)
def test_other_files_are_refused_in_one_line(
    content: bytes | None, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OutputError, match=f"cannot be read .*{reason}"):
        list(read_records(path, "images"))
