"""Tables from made-up rows: what is compared with what, and which way is better."""

from __future__ import annotations

import numpy as np

from benchmarks.family_tables import FAMILIES, columns_of, comparison

PHOTOS = 40


def rows(shift: float, seed: int) -> dict[str, np.ndarray]:
    """Every column of held-ground; deletion and its kin are lower by the shift."""
    drawn = np.random.default_rng(seed)
    return {
        key: 40 + drawn.normal(size=PHOTOS) / 10 + (shift if key.startswith("deletion") else 0)
        for keys, _ in FAMILIES.values()
        for key in keys
    }


def test_lower_deletion_is_better_and_said_to_be() -> None:
    made_up = {"few_shot": rows(0, 4), "removing": rows(-2, 5), "grad_cam": rows(2, 6)}
    text = comparison("held-ground", made_up, "few_shot")
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if line[:1] == "|"}
    assert "| 38.0" in lines["deletion ↓"] and "| 42.0" in lines["deletion ↓"]
    assert "`removing` is better than `few_shot`; `grad_cam` is worse than `few_shot`" in text
    assert "ahead of `removing` in 0 of 7 rows (behind in 1), of `grad_cam` in 1 of 7" in text
    assert text.startswith(f"**held-ground**, {PHOTOS} photos")


def test_families_are_means_of_their_columns() -> None:
    values = {key: np.full(3, place * 1.0) for place, key in enumerate(rows(0, 0))}
    found, sign = columns_of("held-ground", values)["deletion ↓"]
    keys = FAMILIES["deletion ↓"][0]
    assert found.tolist() == [float(np.mean([values[key][0] for key in keys]))] * 3
    assert sign == -1
    t_tame = {
        f"{metric}@{share}": np.full(3, float(share))
        for metric in ("average_drop", "increase_in_confidence")
        for share in (100, 50, 15)
    }
    columns = columns_of("t-tame", t_tame)
    assert list(columns)[:2] == ["AD 100 % ↓", "AD 50 % ↓"]
    assert columns["IC 15 % ↑"][0].tolist() == [15.0] * 3 and columns["IC 15 % ↑"][1] == 1
