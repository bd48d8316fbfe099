"""docs/few-shot-ablation.md, from what the ablation measured."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.benchmark_page import table
from benchmarks.few_shot_ablation_rows import (
    BATCH,
    BUNDLED,
    COLUMNS,
    FAMILIES,
    MEASURED,
    MODELS,
    PRECISIONS,
    PRIOR,
    REPORTED,
    ROAD,
    ROWS,
    STEPS,
    WHOLE,
    WITH_TIES,
)
from benchmarks.few_shot_ablation_values import Kept, all_kept
from ttame.evaluation.family_standings import better_of
from ttame.evaluation.paired_statistics import (
    bootstrap_interval,
    corrected,
    permutation_p_value,
)

PAGE = Path(__file__).parent.parent / "docs" / "few-shot-ablation.md"
PRECISION_IN_WORDS = {
    "no": "All trainings are in float32.",
    "bf16": "All trainings are in bfloat16 mixed precision, unlike that of the bundled explainer.",
}


def write_page() -> None:
    """docs/few-shot-ablation.md from all finished rows."""
    parts = [
        "# Ablation of the few-shot explainer",
        "<!-- Written by python -m benchmarks.few_shot_ablation; do not edit. -->",
        f"Every row is trained in whole epochs, as near to {STEPS} optimiser steps of {BATCH} "
        "images as they come (the bundled explainers: 220), once for every seed, and measured by "
        "`ttame evaluate` (t-tame "
        f"protocol, top-1 class) on {MEASURED} photos that no training has seen. Numbers are "
        "means over the seeds; next to Average Drop is the 95 % bootstrap interval over photos. "
        "**p** is of a paired permutation test of Average Drop against the preset, on each photo's "
        "mean over the seeds, with Holm's correction over all rows and shares; the smallest of the "
        "three shares stands there with its shares, and whether the row is better or worse there.",
    ]
    standing = standing_sections()
    for model in MODELS:
        section, stands = section_of(model), standing.get(model, "")
        if not section or len(rows_of(section)) < len(rows_of(stands)):
            # Fewer rows are kept than the page has: the ablation has not come that far again.
            section = stands
        if section:
            parts.append(f"## {model}\n\n{section}")
    PAGE.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def standing_sections() -> dict[str, str]:
    """The page's sections as they are, by classifier."""
    _, *sections = PAGE.read_text(encoding="utf-8").split("\n## ") if PAGE.exists() else [""]
    pairs = (section.split("\n", 1) for section in sections)
    return {model: section.strip() for model, section in pairs}


def rows_of(section: str) -> list[str]:
    """The rows of all its tables."""
    return [line for line in section.splitlines() if line.startswith("|")]


def section_of(model: str) -> str:
    """The tables of a classifier, of the rows that are finished."""
    finished = finished_rows(model, "measured")
    if WHOLE not in finished:
        return ""
    parts = [
        row_table(finished, list(COLUMNS)),
        "± is the standard deviation over the seeds. " + PRECISION_IN_WORDS[PRECISIONS[model]],
    ]
    trimmed = finished_rows(model, "trimmed")
    if all(name in trimmed for name in WITH_TIES):
        parts += [
            "A sigmoid that saturates gives many places the value 1, and T-TAME's protocol keeps "
            "every place that is tied with the last one of the share. With exactly the share kept:",
            row_table(trimmed, [column for column in COLUMNS if "@" in column]),
        ]
    held = finished_rows(model, "held-ground")
    if WHOLE in held and len(held) > 1:
        parts += [
            "The families of `held-ground`, in percent, higher is better. A training is better "
            "than the preset where it is significantly ahead in at least one and behind in none "
            "(paired permutation tests, Holm's correction over the families):",
            family_table(held),
        ]
    bundled = all_kept(model, "bundled")
    if BUNDLED in bundled and PRIOR in bundled:
        parts += [
            f"The bundled explainer, of {bundled[BUNDLED].steps} steps, and its prior alone, on "
            f"{REPORTED} photos; p of paired permutation tests with Holm's correction over the "
            "columns:",
            bundled_table(bundled[BUNDLED].values, bundled[PRIOR].values),
        ]
    machines = {kept.machine for runs in finished.values() for kept in runs}
    return "\n\n".join([*parts, f"Machine: {'; '.join(sorted(machines))}."])


def bundled_table(trained: Mapping[str, np.ndarray], prior: Mapping[str, np.ndarray]) -> str:
    """What training adds to the prior, column by column."""
    columns = {**COLUMNS, ROAD[0]: "ROAD, most relevant first", ROAD[1]: "ROAD, least relevant"}
    tests = [permutation_p_value([trained[c]], [prior[c]]) for c in columns]
    rows = [
        [words, *(interval_in_words(values[column]) for column in columns)]
        for words, values in (("bundled", trained), ("prior alone", prior))
    ]
    rows.append(["p", *(f"{p_value:.3f}" for p_value in corrected(tests))])
    return table(["explainer", *columns.values()], rows)


def interval_in_words(values: np.ndarray) -> str:
    low, high = bootstrap_interval([values])
    return f"{values.mean():.1f}<br>{low:.1f} to {high:.1f}"


def finished_rows(model: str, measurement: str) -> dict[str, list[Kept]]:
    """Row to what was measured of each seed."""
    found: dict[str, list[Kept]] = {}
    for label, kept in all_kept(model, measurement).items():
        found.setdefault(label.rpartition("-")[0], []).append(kept)
    return found


def row_table(finished: Mapping[str, list[Kept]], columns: Sequence[str]) -> str:
    """Rows down, columns across, and the test of each row against the preset."""
    means = {
        name: {column: np.mean([run.values[column] for run in runs], axis=0) for column in columns}
        for name, runs in finished.items()
    }
    others = [name for name in ROWS if name in means and name != WHOLE]
    drops = [column for column in columns if column.startswith("average_drop")]
    tests = [(name, column) for name in others for column in drops]
    found = [permutation_p_value([means[n][c]], [means[WHOLE][c]]) for n, c in tests]
    p_values = dict(zip(tests, corrected(found), strict=True))
    rows = []
    for name in [WHOLE, *others]:
        runs = finished[name]
        cells = [ROWS[name].words, str(runs[0].steps), str(len(runs))]
        for column in columns:
            values = means[name][column]
            cell = interval_in_words(values) if column in drops else f"{values.mean():.1f}"
            if len(runs) > 1:
                spread = statistics.stdev(float(run.values[column].mean()) for run in runs)
                cell += f"<br>± {spread:.1f}"
            cells.append(cell)
        cells.append("" if name == WHOLE else smallest_p(name, drops, p_values, means))
        rows.append(cells)
    return table(["training", "steps", "seeds", *(COLUMNS[name] for name in columns), "p"], rows)


def family_table(finished: Mapping[str, list[Kept]]) -> str:
    """Rows down, families across, and whether each row is better than the preset."""
    means = {
        name: np.stack([np.mean([run.values[f] for run in runs], axis=0) for f in FAMILIES], axis=1)
        for name, runs in finished.items()
    }
    words = {1: "better", 0: "neither", -1: "worse"}
    rows = [
        [
            ROWS[name].words,
            str(len(finished[name])),
            *(interval_in_words(values) for values in means[name].T),
            "" if name == WHOLE else words[better_of(means[name] - means[WHOLE])],
        ]
        for name in ROWS
        if name in means
    ]
    return table(["training", "seeds", *FAMILIES.values(), "than the preset"], rows)


def smallest_p(
    name: str,
    columns: list[str],
    p_values: Mapping[tuple[str, str], float],
    means: Mapping[str, Mapping[str, Any]],
) -> str:
    """The smallest p of a row, at which shares that is, and in which direction."""
    smallest = min(p_values[name, column] for column in columns)
    lines = [f"{smallest:.3f}"]
    if smallest < 1:
        for column in (c for c in columns if p_values[name, c] == smallest):
            worse = means[name][column].mean() > means[WHOLE][column].mean()
            lines.append(f"{COLUMNS[column]}, {'worse' if worse else 'better'}")
    return "<br>".join(lines)
