"""The sentences for somebody who has to choose a method."""

from __future__ import annotations

import dataclasses

import pytest

from tests.reporting import evaluation_material as material
from ttame.reporting.evaluation_verdict import evaluation_verdict
from ttame.results.evaluation import (
    Evaluation,
    MethodCost,
    MethodScores,
    RandomisationScore,
    Score,
)

COLUMN = material.COLUMNS[3]  # Insertion, higher is better
OTHER = material.COLUMNS[4]


def scored(
    name: str, p_values: tuple[float, ...], family: str = "gradient", passes: int = 1,
    needed: int = 0, passed: bool = True,
) -> MethodScores:  # fmt: skip
    """A method with a p-value per column; 1 stands for the best."""
    scores = {
        column.key: Score(0.5 - place / 10, 0.4, 0.6, 1 if p == 1 else 2, p, 20, needed)
        for place, (column, p) in enumerate(zip((COLUMN, OTHER), p_values, strict=False))
    }
    # Equal numbers of all methods would compare nothing.
    scores = {
        key: dataclasses.replace(score, value=score.value - len(name) / 1000)
        for key, score in scores.items()
    }
    return MethodScores(
        name, name.upper(), family, scores, {}, MethodCost(passes, 0, 0, passes * 10.0, 1.0),
        sanity=RandomisationScore(0.1, (), passed),
    )  # fmt: skip


def evaluation(*methods: MethodScores) -> Evaluation:
    return dataclasses.replace(
        material.realistic(), methods=methods, columns=(COLUMN, OTHER), images=20
    )


RANDOM = scored("random", (0.001, 0.001), "baseline", 0)


def said(*methods: MethodScores) -> str:
    return " ".join(evaluation_verdict(evaluation(*methods)).sentences)


def test_the_group_the_worse_the_choice_and_the_photos() -> None:
    assert said(
        scored("a", (1.0, 0.3), passes=5, needed=78),
        scored("bb", (0.2, 1.0), passes=1, needed=135),
        RANDOM,
    ) == (
        "On these 20 photos, BB and A are not significantly different from the best method in "
        "either of the two measures; RANDOM is clearly worse. For maps like these use BB: it is "
        "among the best in both measures and costs one pass. About 58 more photos would separate "
        "them in Deletion, the measure that needs fewest."
    )


@pytest.mark.parametrize("needed", [(0, 135), (78, 0)])
def test_photos_are_named_only_where_they_can_be_computed(needed: tuple[int, int]) -> None:
    first, second = needed
    text = said(scored("a", (1.0, 0.3), needed=first), scored("bb", (0.2, 1.0), needed=second))
    assert ("more photos" in text) == any(needed)
    nothing = said(scored("a", (1.0, 0.3)), scored("bb", (0.2, 1.0)))
    assert "photos would" not in nothing
    tiny = said(scored("a", (1.0, 0.3), needed=10**6), scored("bb", (0.2, 1.0), needed=10**6))
    assert "so small that 10 000 more photos would hardly separate them" in tiny


def test_one_clear_winner() -> None:
    assert said(scored("a", (1.0, 1.0), passes=50), scored("bb", (0.01, 0.01)), RANDOM) == (
        "On these 20 photos, A is significantly better than every other method in both measures; "
        "BB and RANDOM are clearly worse. For maps like these use A: it is among the best in "
        "both measures and costs 50 passes."
    )


def test_neither_baselines_nor_failing_methods_are_recommended() -> None:
    strong = dataclasses.replace(RANDOM, scores=scored("random", (0.4, 0.4)).scores)
    text = said(scored("a", (1.0, 0.001)), scored("bb", (0.001, 1.0)), strong)
    assert "These numbers recommend no method: RANDOM, which does not look at the network" in text
    failing = evaluation_verdict(
        evaluation(scored("a", (1.0, 1.0), passed=False), scored("bb", (0.3, 0.3), passes=9))
    )
    assert failing.recommended == "bb"


def test_other_names_can_be_given() -> None:
    found = evaluation_verdict(
        evaluation(scored("a", (1.0, 1.0)), RANDOM), {"a": "a", "random": "random"}
    )
    assert "use a: it" in found.sentences[1] and "random is clearly worse" in found.sentences[0]
