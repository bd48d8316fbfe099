from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.reporting.texts.text_report_material import text_report
from tests.results.text_material import explained
from ttame.errors import OutputError
from ttame.reporting.method_label import MethodLabel
from ttame.reporting.texts.text_report import TextReportFacts
from ttame.results.explained_texts import ExplainedTexts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    facts = TextReportFacts({"input_x_gradient": {}}, {"input_x_gradient": MethodLabel("I x G")})
    with text_report(tmp_path / "why", facts) as report:
        report.add("line 1", [explained("great film", pair="not bad")])
        report.add("line 2", [explained("a film")])
        report.skip("line 3", "line 3 has 900 tokens")
    return tmp_path / "why"


def test_what_was_written_is_read_text_by_text(folder: Path) -> None:
    found = ExplainedTexts.read(folder)
    assert (found.methods, found.explained) == (("input_x_gradient",), 2)
    assert found.skipped == (("line 3", "line 3 has 900 tokens"),)
    first, second = found.rows()
    assert (first.name, first.text, first.pair, first.prediction) == (
        "line 1", "great film", "not bad", "positive"
    )  # fmt: skip
    assert first.classes[0].strongest["input_x_gradient"][0] == ("great", 1.5)
    assert second.classes[0].no_evidence == ("input_x_gradient",)
    explanation = found.explanation(first, "input_x_gradient")
    assert [str(word) for word in explanation.top(1)] == ["great 1.5"]
    with pytest.raises(OutputError, match="no explanation by cam; allowed: input_x_gradient"):
        found.explanation(first, "cam")


def test_a_file_outside_of_the_folder_is_not_opened(folder: Path) -> None:
    path = folder / "explanations.json"
    path.write_text(path.read_text().replace("maps/line_1", "../line_1"))
    found = ExplainedTexts.read(folder)
    with pytest.raises(OutputError, match="is outside of"):
        found.explanation(next(found.rows()), "input_x_gradient")


@pytest.mark.parametrize("change", ['"texts": [', '"probability"', '"maps"'])
def test_damaged_files_are_refused_in_one_line(folder: Path, change: str) -> None:
    path = folder / "explanations.json"
    path.write_text(path.read_text().replace(change, json.dumps("other")))
    with pytest.raises(OutputError, match="cannot be read"):
        [*ExplainedTexts.read(folder).rows()]
