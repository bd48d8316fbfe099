from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tests.reporting.texts.text_report_material import text_report
from tests.results.text_material import HOSTILE, explained
from ttame.errors import ExplainerError, OutputError, UnknownNameError
from ttame.reporting.method_label import MethodLabel
from ttame.reporting.texts.text_report import TextReportFacts
from ttame.results.text_explanation import TextExplanation


def facts(*methods: str, **more: Any) -> TextReportFacts:
    return TextReportFacts(
        {name: {"classifier": "by hand", "number": place} for place, name in enumerate(methods)},
        {name: MethodLabel(name.title()) for name in methods},
        **more,
    )


def by(method: str, *texts: str, **how: Any) -> TextExplanation:
    return explained(*texts, method=method, **how)


def test_the_folder_holds_scores_in_every_form(tmp_path: Path) -> None:
    texts = ("great film", "=not bad")
    with text_report(tmp_path / "why", facts("one", "two")) as report:
        batches = [by("one", *texts), by("two", *texts, signed=False)]
        for index in range(2):
            report.add(f"line {index + 1}", batches, index)
        assert not (tmp_path / "why").exists()
    content = json.loads((tmp_path / "why" / "explanations.json").read_text())
    assert [method["name"] for method in content["methods"]] == ["one", "two"]
    first, second = content["texts"]
    assert first["words"] == ["great", "film"] and first["places"] == [[0, 0, 5], [0, 6, 10]]
    assert first["classes"][0]["scores"]["one"]["words"] == [1.5, 0]
    assert second["classes"][0]["scores"]["two"]["words"] == [0, 0]
    assert second["classes"][1]["scores"]["one"]["words"] == [0.25, 0.5]
    rows = [*csv.reader((tmp_path / "why" / "words.csv").read_text().splitlines())]
    assert rows[0][-2:] == ["one", "two"] and len(rows) == 1 + 2 * 2 * 2
    assert rows[5] == ["line 2", "positive", "0.817574", "'=not", "text", "0", "4", "-0.5", "0"]
    again = TextExplanation.load(tmp_path / "why" / second["maps"]["two"])
    assert again.method == "two" and again.texts[0].text == "=not bad"


def test_words_that_were_not_read_are_empty_cells(tmp_path: Path) -> None:
    with text_report(tmp_path / "why", facts("one")) as report:
        report.add("line 1", [by("one", "great film", read=1)])
    rows = [*csv.reader((tmp_path / "why" / "words.csv").read_text().splitlines())]
    assert [row[-1] for row in rows[1:3]] == ["1.5", ""]
    content = json.loads((tmp_path / "why" / "explanations.json").read_text())
    assert content["texts"][0]["classes"][0]["scores"]["one"]["words"] == [1.5, None]


def test_what_strangers_write_is_text_on_the_page(tmp_path: Path) -> None:
    names = ("<b>no</b>", "<i>yes</i>")
    with text_report(tmp_path / "why", facts("one", title="<u>why</u>")) as report:
        report.add("<s>line", [by("one", HOSTILE, class_names=names)])
        report.skip("<s>other", "<s>too long")
    page = (tmp_path / "why" / "index.html").read_text()
    for tag in ("<script>alert", "<img", "<b>no", "<i>yes", "<u>", "<s>", "\x1b"):
        assert tag not in page
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;" in page


def test_many_texts_are_spread_over_pages_that_a_list_leads_to(tmp_path: Path) -> None:
    with text_report(tmp_path / "why", facts("one", "two")) as report:
        batches = [by("one", "great film"), by("two", "great film")]
        for number in range(1, 102):
            report.add(f"line {number}", batches)
    folder = tmp_path / "why"
    assert sorted(path.name for path in (folder / "pages").iterdir()) == [
        "1.html", "2.html", "3.html"
    ]  # fmt: skip
    index = (folder / "index.html").read_text()
    assert index.count('class="found-in"') == 101 and "<article" not in index
    assert 'href="pages/2.html#text-51"' in index
    second = (folder / "pages" / "2.html").read_text()
    assert second.count("<article") == 50 and 'id="text-51"' in second
    assert 'href="../maps/line_51/one.safetensors"' in second


def test_a_report_that_fails_leaves_nothing(tmp_path: Path) -> None:
    other = by("two", "bad film")
    with (
        pytest.raises(ExplainerError, match="different texts or classes in line 1"),
        text_report(tmp_path / "why", facts("one", "two")) as report,
    ):
        report.add("line 1", [by("one", "great film"), other])
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").touch()
    with pytest.raises(OutputError, match="nothing that ttame wrote"), text_report(
        tmp_path / "mine", facts("one"), overwrite=True
    ):  # fmt: skip
        raise AssertionError
    with pytest.raises(UnknownNameError, match="strength 'contrast'; allowed: own, shared"):
        facts("one", strength="contrast")


def test_independent_findings_below_the_threshold_are_none_of_them(tmp_path: Path) -> None:
    likely = by("one", "great film")
    findings = dataclasses.replace(
        likely, exclusive=False, probabilities=likely.probabilities * 0.3
    )
    with text_report(tmp_path / "why", facts("one", threshold=0.5)) as report:
        report.add("line 1", [findings])
    page = (tmp_path / "why" / "index.html").read_text()
    assert "none of them: no finding reaches 50.0%" in page and page.count("not found") == 2
