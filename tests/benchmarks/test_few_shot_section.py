"""Tables of the few-shot report."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from benchmarks.few_shot_section import score_table
from tests.benchmarks.hand_made_columns import columns_by_hand


def test_cells_say_who_is_better(tmp_path: Path) -> None:
    columns = columns_by_hand(tmp_path)
    page = score_table(columns)
    assert "Average Drop at 100 % kept ↓<br>40 images" in page
    assert "Increase in Confidence at 15 % kept ↑<br>40 images" in page
    line = next(line for line in page.splitlines() if line.startswith("| `behind`"))
    assert line.count("worse, p 0.000") == 6
    level = next(line for line in page.splitlines() if line.startswith("| `level`"))
    assert level.count("p 0.") == 6 and "worse" not in level and "better" not in level
    assert line.split("|")[2].strip().startswith("30.0<br>29.")
    assert line.rstrip(" |").endswith("to 30.3")
    swapped = [
        dataclasses.replace(
            column,
            cells={
                name: dataclasses.replace(cell, behind=-cell.behind)
                for name, cell in column.cells.items()
            },
        )
        for column in columns
    ]
    assert score_table(swapped).count("better, p 0.000") == 6
    assert score_table([]) == ""
