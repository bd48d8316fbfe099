from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from ttame.datasets.texts.text_lines import NamedText, piped_text_lines, read_text_lines
from ttame.errors import DatasetError


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_each_line_is_a_text_and_empty_ones_are_passed_over(tmp_path: Path) -> None:
    content = "\ufefffirst\r\n\n   \n a\ttab \u2028and\x0cmore\n"
    texts = read_text_lines(written(tmp_path / "a.txt", content))
    assert texts == (NamedText("line 1", "first"), NamedText("line 4", " a\ttab \u2028and\x0cmore"))


def test_pairs_stand_between_tabs_or_in_objects(tmp_path: Path) -> None:
    assert read_text_lines(written(tmp_path / "a.TSV", "a\tb\nc\n")) == (
        NamedText("line 1", "a", "b"), NamedText("line 2", "c")
    )  # fmt: skip
    lines = '{"text": "a", "pair": "b", "id": 7, "label": 1}\n{"tokens": "c d", "id": "x"}\n'
    assert read_text_lines(written(tmp_path / "a.jsonl", lines)) == (
        NamedText("7", "a", "b"), NamedText("x", "c d")
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", "\n \n", "holds no text; allowed: a UTF-8 text file with one text per line"),
        ("a.txt", b"caf\xe9", "not UTF-8 text at byte 3"),
        ("a.tsv", "a\tb\nc\td\te\n", "line 2: 3 columns, where a text and its pair are two"),
        ("a.tsv", "a\t \n", "line 1: a text without a word"),
        ("a.jsonl", '{"text": "a"}\n{"text": " "}\n', "line 2: a text without a word"),
        ("a.jsonl", "{}", "line 1: an object without a text"),
        ("a.jsonl", '{"text": 5}', "line 1: broken at 'text'"),
        ("a.jsonl", "nothing", "line 1: not JSON"),
        ("a.jsonl", '["a"]', "line 1: not an object; allowed: "),
        ("a.csv", "text,label\na,b", "a.csv, which does not hold one text per line"),
        ("a.JSON", '["a"]', "a.JSON, which does not hold one text per line"),
    ],
)
def test_lines_of_another_form_are_named(
    tmp_path: Path, name: str, content: str | bytes, reason: str
) -> None:
    with pytest.raises(DatasetError, match=re.escape(reason)):
        read_text_lines(written(tmp_path / name, content))


def test_a_missing_file_and_an_empty_pipe_say_so(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot read .*none.txt"):
        read_text_lines(tmp_path / "none.txt")
    with pytest.raises(DatasetError, match="standard input holds no text"):
        piped_text_lines(io.BytesIO(b"\n"))
    with pytest.raises(DatasetError, match="standard input: not UTF-8"):
        piped_text_lines(io.BytesIO(b"\xff"))
