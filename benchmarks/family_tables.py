"""An explainer next to others, family by family of a protocol, as a table with paired tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.benchmark_page import table
from benchmarks.few_shot_plans import POINTING
from ttame.evaluation.family_standings import better_of
from ttame.evaluation.paired_statistics import (
    SIGNIFICANCE,
    bootstrap_interval,
    corrected,
    sign_flip_p_values,
)

FAMILIES = {
    "insertion ↑": (("insertion", "insertion_on_mean", "insertion_on_noise"), 1),
    "deletion ↓": (("deletion", "deletion_to_blur", "deletion_to_noise"), -1),
    "ROAD, most relevant first ↓": (("road_most_relevant_first",), -1),
    "ROAD, least relevant first ↑": (("road_least_relevant_first",), 1),
    "hard masks, kept ↑": (tuple(f"hard_mask_kept@{s}" for s in (50, 30, 15, 5)), 1),
    "hard masks, removed ↓": (tuple(f"hard_mask_removed@{s}" for s in (50, 30, 15, 5)), -1),
    "SaCo ↑": (("saco",), 1),
}
"""Title to the columns whose mean it is, and 1 where higher is better."""


def in_brackets(base: str) -> str:
    """What the brackets of a comparison with ``base`` hold, in words."""
    return (
        "In brackets: the 95 % bootstrap interval over photos, and p of a paired permutation test "
        f"against `{base}`, with Holm's correction over the rows of a table."
    )


def columns_of(
    protocol: str, values: Mapping[str, np.ndarray]
) -> dict[str, tuple[np.ndarray, int]]:
    """Title to (n,) values of photos, and 1 where higher is better."""
    if protocol == "held-ground":
        return {
            title: (np.mean([values[key] for key in keys], axis=0), sign)
            for title, (keys, sign) in FAMILIES.items()
        }
    if protocol == POINTING.protocol.name:
        return {
            "maximum in the box ↑": (values["pointing_game"], 1),
            "energy in the box ↑": (values["energy_inside"], 1),
        }
    signs = {"average_drop": ("AD", "↓", -1), "increase_in_confidence": ("IC", "↑", 1)}
    return {
        f"{signs[metric][0]} {share} % {signs[metric][1]}": (values[f"{metric}@{share}"], sign)
        for metric, (_, _, sign) in signs.items()
        for share in (100, 50, 15)
    }


def comparison(protocol: str, rows: Mapping[str, Mapping[str, np.ndarray]], base: str) -> str:
    """One explainer next to others, family by family, with tests and a verdict.

    Args:
        protocol: ``"held-ground"``, ``"t-tame"`` or ``"pointing-game"``.
        rows: label to column to (n,) values of the same photos, in the same order.
        base: the label that the others are compared with.
    """
    of = {label: columns_of(protocol, values) for label, values in rows.items()}
    labels = [label for label in of if label != base]
    tests = {
        label: corrected(
            sign_flip_p_values(
                np.stack([of[label][title][0] - of[base][title][0] for title in of[label]], 1)
            )
        )
        for label in labels
    }
    lines = [
        [
            title,
            _cell(of[base][title][0]),
            *(_cell(of[label][title][0], tests[label][place]) for label in labels),
        ]
        for place, title in enumerate(of[base])
    ]
    photos = len(next(iter(of[base].values()))[0])
    parts = [
        f"**{protocol}**, {photos} photos:",
        table(["", f"`{base}`", *(f"`{label}`" for label in labels)], lines),
    ]
    return "\n\n".join([*parts, *_verdicts(of, labels, base), _counts(of, tests, base)])


def _verdicts(
    of: Mapping[str, Mapping[str, tuple[np.ndarray, int]]], labels: Sequence[str], base: str
) -> list[str]:
    """Who is better than that explainer, over all rows of a table."""
    words = {1: "is better than", 0: "is neither better nor worse than", -1: "is worse than"}
    found = []
    for label in labels:
        signed = [
            sign * (values - of[base][title][0]) for title, (values, sign) in of[label].items()
        ]
        verdict = words[better_of(np.stack(signed, axis=1))]
        found.append(f"`{label}` {verdict} `{base}`")
    rule = f"(significant, p < {SIGNIFICANCE}, in at least one row, and in none on the other side)"
    return [f"{'; '.join(found)} {rule}."]


def _counts(
    of: Mapping[str, Mapping[str, tuple[np.ndarray, int]]],
    tests: Mapping[str, Sequence[float]],
    base: str,
) -> str:
    """In how many rows that explainer is significantly ahead and behind."""
    sentences = []
    for label, p_values in tests.items():
        signed = [
            sign * float((of[base][title][0] - values).mean()) * (p < SIGNIFICANCE)
            for (title, (values, sign)), p in zip(of[label].items(), p_values, strict=True)
        ]
        ahead, behind = sum(d > 0 for d in signed), sum(d < 0 for d in signed)
        sentences.append(f"of `{label}` in {ahead} of {len(signed)} rows (behind in {behind})")
    return f"`{base}` is significantly ahead {', '.join(sentences)}."


def _cell(values: np.ndarray, p_value: float | None = None) -> str:
    low, high = bootstrap_interval([values])
    p = "" if p_value is None else f", p {p_value:.3f}"
    return f"{values.mean():.2f} ({low:.2f} to {high:.2f}{p})"
