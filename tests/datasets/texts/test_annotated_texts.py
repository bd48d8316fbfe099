"""Reading texts with rationales: what is read, and what each kind of bad line gets."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ttame.datasets.texts import annotated_texts
from ttame.datasets.texts.annotated_texts import AnnotatedText, AnnotatedTexts
from ttame.errors import DatasetError

GOOD: dict[str, Any] = {
    "id": "neg_1",
    "label": "neg",
    "tokens": "not a fine film .",
    "rationales": [[0, 1], [2, 4], [3, 4]],
}


def written(folder: Path, *lines: object, name: str = "reviews.jsonl") -> Path:
    path = folder / name
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    packed = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
    path.write_bytes(packed)
    return path


def marked(text: AnnotatedText) -> list[int]:
    found = text.marked_words()
    assert found is not None and found.shape == (text.number_of_words,)
    return [int(word) for word in np.flatnonzero(found)]


def test_marks_are_those_of_a_loop_over_the_ranges() -> None:
    ranges = ((0, 3), (2, 5), (8, 9), (9, 10), (2, 5))
    text = AnnotatedText("a", " ".join("abcdefghij"), None, ranges)
    assert marked(text) == sorted({word for first, end in ranges for word in range(first, end)})


@pytest.mark.parametrize("name", ["reviews.jsonl", "reviews.jsonl.gz", "reviews"])
def test_plain_and_gzipped_lines_are_read(tmp_path: Path, name: str) -> None:
    texts = AnnotatedTexts(written(tmp_path, GOOD, "", {"tokens": "fine"}, name=name))
    assert len(texts) == 2
    assert texts[0] == AnnotatedText("neg_1", "not a fine film .", "neg", ((0, 1), (2, 4), (3, 4)))
    assert marked(texts[0]) == [0, 2, 3]
    assert texts[1] == AnnotatedText("3", "fine")
    assert texts[1].marked_words() is None


def test_numbers_as_ids_and_labels_and_an_empty_list_of_rationales(tmp_path: Path) -> None:
    texts = AnnotatedTexts(
        written(tmp_path, {"id": 7, "label": 1, "tokens": "a b", "rationales": [], "other": [1]})
    )
    assert texts[0] == AnnotatedText("7", "a b", 1, ())
    assert marked(texts[0]) == []


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"rationales": [[2, 6]]}, "line 2: rationale 2 to 6 in a text of 5 words"),
        ({"rationales": [[-1, 2]]}, "rationale -1 to 2"),
        ({"rationales": [[3, 3]]}, "rationale 3 to 3"),
        ({"rationales": [[3, 1]]}, "rationale 3 to 1"),
        ({"rationales": [[1]]}, "line 2: broken at 'rationales"),
        ({"rationales": {"1": 2}}, "broken at 'rationales"),
        ({"tokens": ""}, "a text without words"),
        ({"tokens": " \t"}, "a text without words"),
        ({"tokens": "two  spaces"}, "not separated by single spaces"),
        ({"tokens": "a\u00a0fine film"}, "not separated by single spaces"),
        ({"tokens": ["a", "b"]}, "broken at 'tokens'"),
        ({"label": [1]}, "broken at 'label"),
        ({"id": "neg_1"}, "line 2: a second text with the id 'neg_1'"),
    ],
)
def test_bad_lines_are_refused_in_one_line(
    tmp_path: Path, changed: dict[str, Any], problem: str
) -> None:
    path = written(tmp_path, GOOD, {**GOOD, "id": "neg_2", **changed})
    with pytest.raises(DatasetError, match=problem) as refused:
        AnnotatedTexts(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "holds no text"),
        (b"\n \n", "holds no text"),
        (b"{", "line 1: not JSON"),
        (b"[1]", "line 1: "),
        (b'{"id": "a"}', "line 1: broken at 'tokens'"),
        (b"\xff\xfe", "not UTF-8"),
        (b"\x1f\x8b damaged", "a damaged gzip file"),
        (gzip.compress(b"text", mtime=0)[:-9], "a damaged gzip file"),
    ],
)
def test_files_that_hold_something_else(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "reviews.jsonl"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=problem):
        AnnotatedTexts(path)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    for other in (["a fine film"], None):
        with pytest.raises(DatasetError, match="(a list|None) as a file of texts; allowed: a line"):
            AnnotatedTexts(other)  # type: ignore[arg-type]
    for path in (tmp_path / "missing.jsonl", tmp_path):
        with pytest.raises(DatasetError, match="jsonl.gz"):
            AnnotatedTexts(path)


def test_a_small_file_that_unpacks_to_a_large_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annotated_texts, "LARGEST", 10_000)
    path = tmp_path / "reviews.jsonl.gz"
    path.write_bytes(gzip.compress(b" " * 20_000))
    with pytest.raises(DatasetError, match="more than 10000 bytes, unpacked"):
        AnnotatedTexts(path)


def test_the_fingerprint_is_of_everything_that_is_read(tmp_path: Path) -> None:
    def fingerprint(**changed: Any) -> str:
        return AnnotatedTexts(written(tmp_path, {**GOOD, **changed})).fingerprint()

    known = {
        fingerprint(),
        fingerprint(id="other"),
        fingerprint(label="pos"),
        fingerprint(tokens="not a good film ."),
        fingerprint(rationales=[[0, 1]]),
        fingerprint(rationales=None),
    }
    assert len(known) == 6
    assert fingerprint(unknown=1) == fingerprint()
