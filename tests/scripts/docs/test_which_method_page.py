"""The page that says which method to use, against the stored leaderboard."""

from __future__ import annotations

import re

import pytest

from scripts.docs.which_method_page import (
    LEADERBOARD,
    PAGE,
    Board,
    boards,
    start_with,
    which_method_page,
)

STORED = boards(LEADERBOARD.read_text(encoding="utf-8"))

_HEADER = (
    "method | Drop ↓ | Mean map (%) | Up (%) ↑ | Even ↓ | forward | backward | tail | time (ms)"
)


def _line(method: str, drop: str, up: str, even: str, costs: str, note: str = "") -> str:
    return f"| [`{method}`](methods.md#{method}){note} | {drop} | 5.0 | {up} | {even} | {costs} |"


_SMALL = "\n".join(
    [
        "# Leaderboard",
        "",
        "## A network",
        "",
        "| column | best |",
        "|---|---|",
        "",
        f"| {_HEADER} |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        _line(
            "few_shot",
            "\\* **1.0**<br>0.5 to 1.5",
            "10.0<br>8.0 to 12.0",
            "~ 3.0<br>2.0 to 4.0",
            "1 | 0 | 0 | 20",
        ),
        _line(
            "grad_cam",
            "~ 1.2<br>0.9 to 1.6",
            "20.0<br>18.0 to 22.0",
            "9.0<br>8.0 to 9.5",
            "1 | 1 | 0 | 1 020",
        ),
        _line(
            "cam",
            "4.0<br>3.5 to 4.5",
            "\\* **90.0**<br>80.0 to 99.0",
            "~ 3.5<br>2.0 to 4.0",
            "1 | 0 | 0 | 20",
        ),
        _line(
            "rise",
            "~ 1.1<br>0.5 to 1.5",
            "~ 85.0<br>70.0 to 95.0",
            "9.0<br>8.0 to 9.5",
            "1 001 | 0 | 0 | 9 000",
        ),
        _line(
            "random",
            "3.0<br>2.6 to 3.4",
            "15.0<br>13.0 to 17.0",
            "\\* **2.0**<br>1.0 to 2.5",
            "1 | 0 | 0 | 20",
            "<br>baseline",
        ),
    ]
)


@pytest.fixture
def small() -> Board:
    (board,) = boards(_SMALL)
    return board


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == which_method_page(STORED), (
        "write it again: python -m scripts.docs which-method"
    )


def test_a_column_in_which_a_baseline_is_the_best_is_not_counted(small: Board) -> None:
    assert small.columns == {"Drop": True, "Up": False, "Even": True}
    assert small.telling == ("Drop", "Up")
    counts = {row.method: small.among_the_best(row) for row in small.rows}
    assert counts == {"few_shot": 1, "grad_cam": 1, "cam": 1, "rise": 2, "random": 0}


def test_behind_a_baseline_needs_intervals_that_do_not_overlap(small: Board) -> None:
    # cam: 3.5 to 4.5 lies above random's 2.6 to 3.4. few_shot: 8 to 12 lies below 13 to 17.
    behind = {row.method: small.behind_a_baseline(row) for row in small.rows}
    assert behind == {"few_shot": 1, "grad_cam": 1, "cam": 1, "rise": 1, "random": 0}


def test_what_to_start_with_is_quick(small: Board) -> None:
    assert start_with(small, trained=True).method == "few_shot"
    quick = {row.method for row in small.rows if row.quick}
    assert quick == {"few_shot", "grad_cam", "cam", "random"}
    costs = {row.method: row.milliseconds for row in small.rows}
    assert costs["grad_cam"] == 1020


@pytest.mark.parametrize("board", STORED, ids=lambda board: board.title)
def test_counts_agree_with_the_leaderboards_own_summary(board: Board) -> None:
    """Its table "Column by column" was written from the results, not from the table of methods."""
    text = LEADERBOARD.read_text(encoding="utf-8")
    part = text.split(f"\n## {board.title}\n", 1)[1].split("\n## ", 1)[0]
    summary = part.split("| column | best |", 1)[1].split("\n\n", 1)[0]
    for title in board.columns:
        (line,) = re.findall(rf"^\| {re.escape(title)} \|(.*)$", summary, re.MULTILINE)
        best, level, *_ = line.split("|")
        names = re.split(r", | and ", best.strip().rsplit(" (", 1)[0])
        names += [name for name in level.strip().split(", ") if name != "none"]
        assert sum(row.cells[title].level for row in board.rows) == len(names)


def test_it_is_in_the_menu_and_on_the_first_page() -> None:
    docs = PAGE.parent
    assert "which-method.md" in (docs / "index.md").read_text(encoding="utf-8")
    assert "which-method.md" in (docs.parent / "mkdocs.yml").read_text(encoding="utf-8")
