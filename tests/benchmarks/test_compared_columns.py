"""Numbers, intervals and tests of a column."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.hand_made_columns import columns_by_hand


def test_a_column_by_hand(tmp_path: Path) -> None:
    columns = {column.key: column for column in columns_by_hand(tmp_path)}
    assert list(columns)[:2] == ["average_drop@100", "average_drop@50"]
    drop, increase = columns["average_drop@100"], columns["increase_in_confidence@100"]
    for column, sign in ((drop, 1), (increase, -1)):
        cells = column.cells
        assert list(cells) == ["few_shot", "behind", "level"]
        assert cells["behind"].value - cells["few_shot"].value == pytest.approx(10 * sign)
        assert cells["behind"].behind == pytest.approx(-10)
        assert cells["level"].behind == pytest.approx(0.05)
        assert cells["behind"].told_apart and not cells["level"].told_apart
        # Holm's correction for two methods, over the least p that so many permutations can show.
        assert cells["behind"].p_value == pytest.approx(2 / 5001)
        assert cells["few_shot"].p_value == 1
        assert cells["few_shot"].low < cells["few_shot"].value < cells["few_shot"].high
    assert columns["mean_map"].cells["behind"].value == pytest.approx(30)
