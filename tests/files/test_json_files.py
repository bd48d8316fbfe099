"""JSON of strangers: what is read, what is refused, and how deep."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest

from ttame.files.bounded_reading import UnreadableFileError
from ttame.files.json_files import DEEPEST, checked_as, parse_json, read_json, read_json_object


@pytest.mark.parametrize(
    "text",
    [
        *("[]", "5", '"a"', "null", '{"a": [1, -2.5e3, "b\\"[[{"], "ü": {}}', '["\\ud800"]'),
        *(str(2**64 - 1), str(-(2**63)), "1e300", "1e-999", "0.1234567890123456789012345"),
        *("[" * DEEPEST + "]" * DEEPEST, '["' + "[" * 500 + '"]', '["\\\\", "' + "{" * 500 + '"]'),
        "[" + ",".join(["[]"] * 500) + "]",
    ],
)
def test_what_json_allows_is_read_as_python_reads_it(text: str) -> None:
    assert parse_json(text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *((name, f"holds {name}, which is not JSON") for name in ("NaN", "Infinity", "-Infinity")),
        *((number, "too large") for number in ("1e309", "-1E+999", "1" + "0" * 400 + ".5")),
        *((str(number), "more than 64 bits") for number in (2**64, -(2**63) - 1, 10**4000)),
        ("1" + "0" * 5000, "more than 64 bits"),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "nested more than"),
        ("[" * 1_000_000, "nested more than"),
        ('["\\\\"' + ", [" * 500, "nested more than"),
        ('{"a]]]]":' * 100 + "1" + "}" * 100, "nested more than"),
        ("[1", "not JSON: Expecting"),
        ("", "not JSON: Expecting value"),
        ('"\n"', "not JSON: Invalid control character"),
    ],
)
def test_everything_else_is_refused(text: str, message: str) -> None:
    with pytest.raises(UnreadableFileError, match=message) as caught:
        parse_json(text)
    assert len(str(caught.value)) < 200


def test_numbers_that_are_none_may_be_asked_for() -> None:
    assert math.isnan(parse_json("[NaN]", allow_nan=True)[0])
    assert parse_json("[-Infinity, 1e999]", allow_nan=True) == [-math.inf, math.inf]


def test_files_are_bounded_and_objects(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": 1}')
    assert read_json(tmp_path / "a.json") == read_json_object(tmp_path / "a.json") == {"a": 1}
    with pytest.raises(UnreadableFileError, match="8 bytes, where at most 7"):
        read_json(tmp_path / "a.json", largest=7)
    (tmp_path / "a.json").write_text("null")
    with pytest.raises(UnreadableFileError, match="None, not an object"):
        read_json_object(tmp_path / "a.json")


@dataclasses.dataclass(frozen=True)
class Inner:
    pair: tuple[int, float]


@dataclasses.dataclass(frozen=True)
class Outer:
    name: str
    inner: tuple[Inner, ...]
    extra: float | None = None


def test_dataclasses_are_built_from_lists_and_objects() -> None:
    found = checked_as(Outer, {"name": "\udcff", "inner": [{"pair": [1, 2]}], "unknown": 1})
    assert found == Outer("\udcff", (Inner((1, 2.0)),))
    for content, where in (
        ({"name": "a", "inner": [{"pair": [1, 2]}, {"pair": [1, 2, 3]}]}, "inner.1.pair"),
        ({"name": "a", "inner": [{"pair": ["b", 2]}]}, "inner.0.pair.0"),
        ({"name": 1, "inner": []}, "name"),
        ({"name": "a", "inner": [], "extra": []}, "extra"),
    ):
        with pytest.raises(UnreadableFileError, match=f"broken at '{where}': "):
            checked_as(Outer, content)
    for content in (None, [], 5, "text"):
        with pytest.raises(UnreadableFileError, match="^not an object$"):
            checked_as(Outer, content)
