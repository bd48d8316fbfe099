"""What the few-shot report measures itself."""

from __future__ import annotations

import dataclasses

import numpy as np

from benchmarks.few_shot_measurements import road_rows
from benchmarks.few_shot_study import Study
from benchmarks.leaderboard_rows import lent_rows
from tests.benchmarks.tiny_study import PLAN, lend


def test_road_is_measured_only_where_nobody_lends_it(study: Study) -> None:
    lend(study, ("grad_cam",))
    lent = lent_rows(study, ("grad_cam",))
    rows = road_rows(study, ["few_shot", "grad_cam"], lent)
    assert list(rows) == ["few_shot", "grad_cam"]
    kept = [place.name for place in (study.folder / "road-5" / "rows").iterdir()]
    assert len(kept) == 1 and kept[0].startswith("few_shot-")
    own = road_rows(study, ["few_shot", "grad_cam"], {})
    for key in ("road_most_relevant_first", "road_least_relevant_first"):
        parts = [name for name in own["grad_cam"].values if name.startswith(key)]
        assert parts
        for part in parts:
            ours, theirs = own["grad_cam"].values[part], rows["grad_cam"].values[part]
            assert np.array_equal(ours, theirs, equal_nan=True)
    # The leaderboard has five photos, and not four.
    fewer = dataclasses.replace(study, plan=dataclasses.replace(PLAN, road_photos=4))
    road_rows(fewer, ["few_shot", "grad_cam"], lent)
    assert (study.folder / "road-4" / "rows" / "grad_cam").is_dir()
