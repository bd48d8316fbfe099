"""The section of BENCHMARKS.md on a few-shot explainer: what stands in it, and its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.benchmark_page import table
from benchmarks.compared_columns import LEVEL, ComparedColumn
from benchmarks.few_shot_claims import claims
from benchmarks.few_shot_measurements import COST_PHOTOS, SANITY_PHOTOS, Found
from benchmarks.few_shot_study import RISE_MASKS, Study
from benchmarks.operating_points import TRAINED, kept_name
from ttame.reporting.written_values import number_writer
from ttame.results.evaluation import MethodCost, RandomisationScore

INTRODUCTION = (
    "Every cell: mean over images, 95 % bootstrap interval, and p of a paired permutation test "
    f"against `{TRAINED}`, with Holm's correction over the methods of the column. *Better* and "
    f"*worse* than `{TRAINED}` stand where p < {LEVEL}. ↓ lower is better, ↑ higher is better."
)
_ARROWS = {"lower": " ↓", "higher": " ↑", "neither": ""}


def section(study: Study, found: Found) -> str:
    """The section of BENCHMARKS.md."""
    explainer = kept_name(TRAINED, study.explainers[TRAINED]).removeprefix(f"{TRAINED}-")
    parts = [
        f"Few-shot explainer `{explainer}` (SHA-256 of its weights and settings). {INTRODUCTION}",
        "### What was aimed at",
        claims(study.plan, found),
        "### Soft masks",
        "Photos: benchmarks/photo_splits/report-200.txt, which no training has seen. The mean map "
        "says how much of the picture a method's maps keep: one that hides nothing has an Average "
        "Drop near 0.",
        score_table(found.masks),
        "### Order of places",
        "ROAD, insertion and deletion use nothing but the order of a map's values.",
        score_table(found.order),
        "### Compared with methods with many passes",
        f"RISE with {RISE_MASKS} masks. Their rows are those of `ttame evaluate` for "
        "docs/leaderboard.md; the few-shot explainer on the same photos.",
        score_table(found.read),
        *missing_in_words(study, found.missing),
        "### Pointing game",
        "Images of ../shared/data/tiny-imagenet-boxes whose box covers less than half of the "
        "picture and whose labelled class is among the network's first five; the labelled class "
        "is explained. Pointing game: mean over classes, and its interval over resampled classes.",
        score_table(found.pointing),
        "Of these, the images whose labelled class is the network's first:",
        score_table(found.recognised),
        "### With a randomised network",
        f"Rank correlation with the original maps while ever more layers are random, from the "
        f"output on, over {min(SANITY_PHOTOS, study.plan.photos)} photos. Maps that do not change "
        "show the picture and not the network.",
        sanity_table(found.sanity),
        "### Cost of a map",
        f"One photo at a time, {COST_PHOTOS} photos of which the first warms up, all methods in "
        "one run; medians.",
        cost_table(found.costs),
    ]
    return "\n\n".join(part for part in parts if part)


def score_table(columns: Sequence[ComparedColumn]) -> str:
    """Methods down, columns across; empty where nothing was measured."""
    names = list(dict.fromkeys(name for column in columns for name in column.cells))
    if len(names) < 2:
        return ""
    header = ["method", *map(heading, columns)]
    rows = [[f"`{name}`", *(cell_in_words(column, name) for column in columns)] for name in names]
    return table(header, rows)


def heading(column: ComparedColumn) -> str:
    counts = sorted({cell.images for cell in column.cells.values()})
    return f"{column.title}{_ARROWS[column.better]}<br>{'/'.join(map(str, counts))} images"


def cell_in_words(column: ComparedColumn, name: str) -> str:
    """Number, interval, test."""
    cell = column.cells.get(name)
    if cell is None:
        return ""
    lines = [column.words(cell.value), f"{column.words(cell.low)} to {column.words(cell.high)}"]
    if name != TRAINED and column.better != "neither":
        standing = ("better, " if cell.behind > 0 else "worse, ") if cell.told_apart else ""
        lines.append(f"{standing}p {cell.p_value:.3f}")
    return "<br>".join(lines)


def missing_in_words(study: Study, missing: Sequence[str]) -> list[str]:
    if not missing:
        return []
    folder = f"runs/leaderboard/{study.plan.leaderboard}"
    return [f"Not finished in {folder}, and so not here: {', '.join(missing)}."]


def sanity_table(scores: Mapping[str, RandomisationScore]) -> str:
    """Similarities, stage by stage."""
    stages = [layers for layers, _ in next(iter(scores.values())).steps]
    write = number_writer([1.0])
    header = ["method", *(f"{layers} random" for layers in stages), "changes"]
    rows = [
        [
            f"`{name}`",
            *(write(similarity) for _, similarity in score.steps),
            "yes" if score.passed else "no",
        ]
        for name, score in scores.items()
    ]
    return table(header, rows)


def cost_table(costs: Mapping[str, MethodCost]) -> str:
    """Passes, milliseconds, and their ratio to the trained explainer's."""
    own = costs[TRAINED].milliseconds
    header = [
        "method", "forward", "backward", "ends of the network", "ms", f"ms / ms of `{TRAINED}`",
    ]  # fmt: skip
    rows = [
        [
            f"`{name}`",
            f"{cost.forward:.0f}",
            f"{cost.backward:.0f}",
            f"{cost.tail:.0f}",
            f"{cost.milliseconds:.0f}",
            f"{cost.milliseconds / own:.1f}",
        ]
        for name, cost in costs.items()
    ]
    return table(header, rows)
