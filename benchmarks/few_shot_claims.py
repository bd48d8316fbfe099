"""What the few-shot explainers were aimed at, in sentences that name their exceptions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from benchmarks.compared_columns import ComparedColumn
from benchmarks.few_shot_measurements import Found
from benchmarks.few_shot_plans import BASELINES, MASKS, Plan
from benchmarks.operating_points import TRAINED
from ttame.reporting.written_values import enumeration
from ttame.results.evaluation import MethodCost


def claims(plan: Plan, found: Found) -> str:
    """What was aimed at as a list: whether it holds, and the number or the exceptions."""
    masks = [column for column in found.masks if column.better != "neither"]
    ordering = [column for column in found.order if column.metric in plan.ordering]
    read = [column for column in found.read if column.better != "neither"]
    read_masks = [column for column in read if column.metric in MASKS.metrics]
    pointing = [column for column in found.pointing if column.metric == "pointing_game"]
    costly = cells_of(read, plan.costly)
    everyone = (*plan.rivals, *plan.others, *BASELINES)
    lines = [aim(column, plan.aims[column.key]) for column in masks if column.key in plan.aims]
    lines += [
        comparison(
            f"Soft masks: a better mean than {in_code(plan.rivals + plan.read_rivals)}",
            cells_of(masks, plan.rivals) + cells_of(read_masks, plan.read_rivals),
        ),
        comparison(
            f"Order of places: a better mean than {in_code(plan.order_rivals)}",
            cells_of(ordering, plan.order_rivals),
        ),
        comparison(
            "Pointing game: no other method has a better mean", cells_of(pointing, everyone)
        ),
        claim(
            f"Soft masks and ROAD: better than {in_code(plan.costly)}, or not significantly "
            "different",
            [compared.words for compared in costly if compared.behind and compared.told_apart]
            + [f"`{name}` is not measured" for name in found.missing if name in plan.costly],
        ),
        claim(f"A hundredth of the time of {in_code(plan.costly)}", dear(found.costs, plan.costly)),
    ]
    return "\n".join(lines)


def in_code(methods: Sequence[str]) -> str:
    return enumeration(f"`{name}`" for name in methods)


def aim(column: ComparedColumn, number: float) -> str:
    """One figure and what it should be."""
    value = column.cells[TRAINED].value
    lower = column.better == "lower"
    holds = value <= number if lower else value >= number
    words = f"{column.title} {'at most' if lower else 'at least'} {number:g}"
    return f"- **{'yes' if holds else 'no'}**: {words}: {column.words(value)}."


def comparison(words: str, cells: Sequence[Against]) -> str:
    """A claim about means, and how often the test says it too."""
    if not cells:
        return f"- **not measured**: {words}."
    apart = [cell.behind for cell in cells if cell.told_apart]
    return (
        f"{claim(words, [cell.words for cell in cells if cell.behind])} Significantly better in "
        f"{apart.count(False)}, significantly worse in {apart.count(True)} of {len(cells)} tests."
    )


def claim(words: str, exceptions: Sequence[str]) -> str:
    if not exceptions:
        return f"- **yes**: {words}."
    return f"- **no**: {words}. Not so: {'; '.join(exceptions)}."


@dataclasses.dataclass(frozen=True)
class Against:
    """The trained explainer against one method in one column.

    Attributes:
        words: the method, the column, both means and p.
        behind: whether the trained explainer's mean is worse.
        told_apart: whether the test tells them apart.
    """

    words: str
    behind: bool
    told_apart: bool


def cells_of(columns: Sequence[ComparedColumn], methods: Sequence[str]) -> list[Against]:
    """Every measured pair of a column and a method."""
    return [
        Against(
            f"`{name}`, {column.title}: {column.words(cell.value)} against "
            f"{column.words(column.cells[TRAINED].value)}, p {cell.p_value:.3f}",
            cell.behind > 0,
            cell.told_apart,
        )
        for column in columns
        for name, cell in column.cells.items()
        if name in methods
    ]


def dear(costs: Mapping[str, MethodCost], costly: Sequence[str]) -> list[str]:
    """The methods with many passes that take less than a hundred times as long."""
    own = costs[TRAINED].milliseconds
    unmeasured = [f"`{name}` is not measured" for name in costly if name not in costs]
    ratios = {name: costs[name].milliseconds / own for name in costly if name in costs}
    return [
        f"`{name}` takes {ratio:.1f} times as long" for name, ratio in ratios.items() if ratio < 100
    ] + unmeasured
