"""Columns of a table from hand-made rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.compared_columns import ComparedColumn, compared
from benchmarks.few_shot_plans import MASKS
from ttame.evaluation.row_store import BatchFacts, RowStore
from ttame.evaluation.summary import MeasuredMethod


def rows_of(folder: Path, label: str, values: dict[str, np.ndarray]) -> MeasuredMethod:
    """A method with hand-made values."""
    count = len(next(iter(values.values())))
    store = RowStore(folder)
    numbers = list(range(count))
    facts = BatchFacts(count, 1.0, False, 1.0, 0.0, 0.0, None)
    store.write(label, 0, numbers, [f"{n}.png" for n in numbers], [0] * count, values, facts)
    return MeasuredMethod(store, label)


def columns_by_hand(folder: Path) -> list[ComparedColumn]:
    """40 photos: the few-shot explainer drops 20, one method 30 everywhere, one 20 on average."""
    keys = [f"{m}@{s}" for m in MASKS.metrics[:2] for s in (100, 50, 15)]
    own = 20.0 + np.tile([-1.0, 1.0], 20)
    drops = {
        "few_shot": own,
        "behind": own + 10,
        "level": 20.0 + np.tile([1.0, 1.0, -1.2, -1.0], 10),
    }
    rows = {}
    for name, drop in drops.items():
        values = {key: drop if key.startswith("average_drop") else 100 - drop for key in keys}
        rows[name] = rows_of(folder, f"{name}-0", {**values, "mean_map": drop})
    return compared(rows, MASKS)
