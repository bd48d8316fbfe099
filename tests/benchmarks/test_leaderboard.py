"""The page that benchmarks/leaderboard.py writes from finished evaluations."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

from benchmarks import leaderboard
from tests.reporting.evaluation_material import crowd, missing_scores, realistic, tiny


def test_a_section_a_folder_and_a_report_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, evaluation in (("first", realistic()), ("second", crowd())):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(evaluation.to_json(), encoding="utf-8")
    docs = tmp_path / "docs"
    folders = [str(tmp_path / "first"), str(tmp_path / "second")]
    words = ["--title", "A network", "--photos", "photos of everything", "--docs", str(docs)]
    monkeypatch.setattr(sys, "argv", ["leaderboard", *folders, *words])
    leaderboard.main()
    page = (docs / "leaderboard.md").read_text(encoding="utf-8")
    assert [line for line in page.splitlines() if line.startswith("## ")] == [
        "## A network",
        f"## {crowd().classifier}",
    ]
    assert "of photos of everything" in page
    assert f"hash `{realistic().protocol_hash}`" in page
    for report in ("report.html", "report-2.html"):
        assert f"(leaderboard/{report})" in page
        assert (docs / "leaderboard" / report).read_text(encoding="utf-8").startswith("<!doctype")


def test_every_method_has_a_row_with_number_and_interval() -> None:
    evaluation = realistic()
    rows = leaderboard.score_table(evaluation)
    assert len({row.count("|") for row in rows}) == 1
    score = evaluation.methods[1].scores["average_drop@100"]
    row = next(row for row in rows if "(methods.md#grad_cam)" in row)
    assert f"{score.value:.1f}" in row and f"{score.low:.1f} to {score.high:.1f}" in row
    assert len(rows) == 2 + len(evaluation.methods)


@pytest.mark.parametrize("evaluation", [tiny(), missing_scores()])
def test_odd_evaluations_have_a_section(evaluation: leaderboard.Evaluation) -> None:
    section = leaderboard.section(evaluation, "A network", "", "leaderboard/report.html")
    assert section[0] == "## A network"


def test_left_out_methods_have_their_reasons() -> None:
    reasons = {"legrad": "legrad is not defined for net: it has no self-attention"}
    evaluation = dataclasses.replace(realistic(), classifier="net", left_out=reasons)
    assert "- `legrad`: it has no self-attention." in leaderboard.left_out(evaluation)


def test_stored_results_make_the_stored_page(tmp_path: Path) -> None:
    leaderboard.write_pages(tmp_path, leaderboard.kept_sections())
    page = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    assert page == (leaderboard.DOCS / "leaderboard.md").read_text(encoding="utf-8")


def test_results_that_are_kept_are_read_back(tmp_path: Path) -> None:
    sections = [leaderboard.Section("A network", "photos of everything", tiny())]
    leaderboard.keep_sections([tmp_path / "of-a-network"], sections, tmp_path)
    assert leaderboard.kept_sections(tmp_path) == sections
    assert (tmp_path / "of-a-network.json").is_file()
