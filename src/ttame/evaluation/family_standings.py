"""Which method is better than which, over families of metrics that nobody weighs.

A sum of several metrics lets the one decide whose values spread most between images. Here every
family is tested by itself, and a method is better than another only where no family speaks against
it.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from ttame.evaluation.paired_statistics import SIGNIFICANCE, corrected, sign_flip_p_values
from ttame.evaluation.summary import MeasuredMethod
from ttame.metrics.held_ground import HELD_GROUND
from ttame.metrics.metric import JUDGED

_FAMILIES = tuple(f"{of}{HELD_GROUND.name}." for of in ("", JUDGED))
_MOST_NAMED = 6
"""Methods that a sentence names; of more it says how many."""


@dataclasses.dataclass(frozen=True)
class FamilyStanding:
    """Where a method stands among others.

    Attributes:
        label: the label of the method.
        better_than: those that it is significantly ahead of in at least one family, and behind in
            none.
        worse_than: those of which the same can be said the other way round.
    """

    label: str
    better_than: tuple[str, ...]
    worse_than: tuple[str, ...]


def family_standings(methods: Sequence[MeasuredMethod]) -> tuple[FamilyStanding, ...]:
    """Compare every method with every other one in the families of held-ground.

    Of each pair, all families (insertion, deletion, ROAD, hard masks and SaCo; with a judge, also
    these by its probabilities) are tested on the images that both have: two-sided paired
    permutation tests, with Holm's correction over the families. The corrections are made within a
    pair, because a pair's answer is not to depend on which other methods are in the table.

    Args:
        methods: whatever was measured.

    Returns:
        The methods that have families, those first that are better than more and worse than fewer;
        empty for less than two.
    """
    tables = {method.label: _families(method) for method in methods}
    having = [method for method in methods if tables[method.label]]
    better: dict[str, list[str]] = {method.label: [] for method in having}
    worse: dict[str, list[str]] = {method.label: [] for method in having}
    for first, second in itertools.combinations(having, 2):
        verdict = _compared(first, second, tables[first.label], tables[second.label])
        if verdict:
            winner, loser = (first, second) if verdict > 0 else (second, first)
            better[winner.label].append(loser.label)
            worse[loser.label].append(winner.label)
    found = [FamilyStanding(label, tuple(better[label]), tuple(worse[label])) for label in better]
    return tuple(
        sorted(found, key=lambda standing: len(standing.worse_than) - len(standing.better_than))
        if len(having) > 1
        else ()
    )


def better_of(differences: np.ndarray) -> int:
    """Which of two methods is better, if either is.

    Args:
        differences: (n, F), of one method minus the other, by image and family; higher is better.

    Returns:
        1 for the one, −1 for the other, 0 if no family or families on both sides are significant.

    Example:
        >>> ahead = np.tile([[1.0, 0.1], [0.5, -0.1]], (20, 1))
        >>> better_of(ahead), better_of(-ahead), better_of(ahead * [0, 1])
        (1, -1, 0)
    """
    p_values = np.array(corrected(sign_flip_p_values(differences)))
    sides = set(np.sign(differences.mean(axis=0))[p_values < SIGNIFICANCE].astype(int).tolist())
    return sides.pop() if len(sides) == 1 else 0


def standings_in_words(standings: Sequence[FamilyStanding]) -> list[str]:
    """Sentences for the reader of a table; none without standings.

    Example:
        >>> rule, first, *_ = standings_in_words([
        ...     FamilyStanding("few_shot", ("grad_cam",), ()), FamilyStanding("grad_cam", (), ("few_shot",))])
        >>> first
        'Held ground: few_shot is better than 1 of 1 (grad_cam), worse than none'
    """  # noqa: E501 - one line of input
    if not standings:
        return []
    rule = (
        f"{HELD_GROUND.title}: a method is better than another where it is significantly ahead in "
        "at least one family (insertion, deletion, ROAD, hard masks, SaCo; with a judge, these by "
        "its probabilities too) and behind in none; paired permutation tests, Holm's correction "
        "over the families"
    )
    others = len(standings) - 1
    return [
        rule,
        *(
            f"{HELD_GROUND.title}: {standing.label} is better than "
            f"{_counted(standing.better_than, others)}, worse than "
            f"{_counted(standing.worse_than, others)}"
            for standing in standings
        ),
    ]


def _counted(labels: Sequence[str], others: int) -> str:
    if not labels:
        return "none"
    names = f" ({', '.join(labels)})" if len(labels) <= _MOST_NAMED else ""
    return f"{len(labels)} of {others}{names}"


def _families(method: MeasuredMethod) -> Mapping[str, np.ndarray]:
    """Family to (n,) values, of the explained classifier and of a judge."""
    return {key: values for key, values in method.values.items() if key.startswith(_FAMILIES)}


def _compared(
    first: MeasuredMethod,
    second: MeasuredMethod,
    ours: Mapping[str, np.ndarray],
    theirs: Mapping[str, np.ndarray],
) -> int:
    _, here, there = np.intersect1d(first.images, second.images, return_indices=True)
    shared = [key for key in ours if key in theirs]
    differences = np.stack([ours[key][here] - theirs[key][there] for key in shared], axis=1)
    differences = differences[~np.isnan(differences).any(axis=1)]
    return better_of(differences) if len(differences) else 0
