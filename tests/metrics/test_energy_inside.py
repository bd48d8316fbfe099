"""Energy inside by hand."""

from __future__ import annotations

import pytest

from tests.metrics.measured import one, where
from ttame.metrics.energy_inside import energy_inside


def test_energy_by_hand() -> None:
    # 0, 1, 2, 5 above the minimum −1 → 0, .2, .4, 1: 1.4 of 1.6
    maps = one([-1, 0], [1, 4])
    assert energy_inside(maps, where([0, 0], [1, 1])).tolist() == pytest.approx([87.5])
    assert energy_inside(maps, where([1, 1], [1, 1])).tolist() == pytest.approx([100.0])
