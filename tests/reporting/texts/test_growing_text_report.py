from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.results.text_material import explained
from ttame.errors import TextError
from ttame.files.growing_folder import RESULT
from ttame.reporting.method_label import MethodLabel
from ttame.reporting.texts.growing_text_report import GrowingTextReport
from ttame.reporting.texts.text_report import TextReportFacts

NAMES = ["a/1", "b/1", "long", "four"]


def report(place: Path) -> GrowingTextReport:
    (place / RESULT).mkdir(parents=True, exist_ok=True)
    facts = TextReportFacts({"one": {}}, {"one": MethodLabel("One")})
    return GrowingTextReport(place, NAMES, facts)


def test_batches_are_joined_in_the_order_of_the_texts(tmp_path: Path) -> None:
    growing = report(tmp_path)
    both = explained("great film", "not bad", method="one")
    with growing.batch(1) as batch:  # Before batch 0, as two processes may.
        batch.skip(2, "too long")
        batch.add(3, [both], 0)
    assert growing.finished() == {1}
    with growing.batch(0) as batch:
        batch.add(0, [both], 0)
        batch.add(1, [both], 1)
    growing.complete()
    content = json.loads((tmp_path / RESULT / "explanations.json").read_text())
    assert [text["name"] for text in content["texts"]] == ["a/1", "b/1", "four"]
    assert [text["name"] for text in content["not_explained"]] == ["long"]
    # Both 1 have a file of their own.
    assert {path.name for path in (tmp_path / RESULT / "maps").iterdir()} == {
        "1.safetensors", "1-2.safetensors", "four.safetensors"
    }  # fmt: skip
    rows = [*csv.reader((tmp_path / RESULT / "words.csv").read_text().splitlines())]
    assert [row[0] for row in rows[1::4]] == ["a/1", "b/1", "four"] and len(rows) == 1 + 3 * 2 * 2


def test_a_report_of_nothing_is_refused_and_leaves_no_work(tmp_path: Path) -> None:
    growing = report(tmp_path)
    with growing.batch(0) as batch:
        batch.skip(0, "too long")
    with pytest.raises(TextError, match="none of the 4 texts can be explained"):
        growing.complete()
    assert growing.finished() == set()
