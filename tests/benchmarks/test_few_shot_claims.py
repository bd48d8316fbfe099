"""What the few-shot report says of its aims."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from benchmarks.compared_columns import Cell, ComparedColumn
from benchmarks.few_shot_claims import claims
from benchmarks.few_shot_measurements import Found
from benchmarks.few_shot_plans import COSTLY
from tests.benchmarks.hand_made_columns import columns_by_hand
from tests.benchmarks.tiny_study import PLAN
from ttame.results.evaluation import MethodCost


def test_claims_name_their_exceptions(tmp_path: Path) -> None:
    columns = columns_by_hand(tmp_path)
    costs = {
        name: MethodCost(1, 0, 0, milliseconds, 0)
        for name, milliseconds in (("few_shot", 2), ("rise", 400), ("score_cam", 100))
    }
    nothing: list[ComparedColumn] = []
    found = Found(columns, nothing, nothing, ["rise"], nothing, nothing, {}, costs)
    plan = dataclasses.replace(
        PLAN,
        rivals=("behind",),
        costly=COSTLY,
        aims={"average_drop@100": 12, "average_drop@50": 20, "increase_in_confidence@15": 81},
    )
    lines = claims(plan, found).splitlines()
    assert lines[:3] == [
        "- **no**: Average Drop 100 % at most 12: 20.0.",
        "- **yes**: Average Drop 50 % at most 20: 20.0.",
        "- **no**: Increase in Confidence 15 % at least 81: 80.0.",
    ]
    assert lines[3].startswith("- **yes**: Soft masks: a better mean than `behind` and `layer_cam`")
    assert lines[3].endswith("Significantly better in 6, significantly worse in 0 of 6 tests.")
    assert lines[4].startswith("- **not measured**: Order of places")
    assert "`rise` is not measured" in lines[6]
    assert lines[7].endswith(
        "Not so: `score_cam` takes 50.0 times as long; `ablation_cam` is not measured."
    )
    behind = claims(dataclasses.replace(plan, rivals=("level",)), found).splitlines()[3]
    assert behind.startswith("- **no**") and behind.count("`level`") == 7
    assert "`level`, Average Drop 100 %: 19.9 against 20.0, p 0." in behind
    assert behind.endswith("Significantly better in 0, significantly worse in 0 of 6 tests.")


def test_costly_methods_may_be_level_but_not_better(tmp_path: Path) -> None:
    columns = columns_by_hand(tmp_path)
    costs = {"few_shot": MethodCost(1, 0, 0, 1, 0)}

    def cells_of_kind(column: ComparedColumn) -> dict[str, Cell]:
        behind = column.cells["behind"]
        ahead = dataclasses.replace(behind, behind=10.0)
        return {"level": column.cells["level"], "behind": behind, "ahead": ahead}

    def line(kind: str) -> str:
        renamed = [
            dataclasses.replace(
                column,
                cells={"few_shot": column.cells["few_shot"], "rise": cells_of_kind(column)[kind]},
            )
            for column in columns
        ]
        found = Found([], [], renamed, [], [], [], {}, costs)
        return claims(dataclasses.replace(PLAN, costly=COSTLY, aims={}), found).splitlines()[3]

    assert line("level").startswith("- **yes**: Soft masks and ROAD")
    assert line("behind").startswith("- **yes**: Soft masks and ROAD")
    assert line("ahead").startswith("- **no**: Soft masks and ROAD")
