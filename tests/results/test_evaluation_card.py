"""The table of an evaluation in a notebook."""

from __future__ import annotations

import dataclasses

import pytest

from tests.notebook.test_cards import NASTY, Tags
from ttame.results.evaluation import ColumnFacts, Evaluation, MethodCost, MethodScores, Score
from ttame.results.evaluation_card import evaluation_card

COLUMNS = (
    ColumnFacts("drop", "Average Drop", "average_drop", "lower", "%", "", ""),
    ColumnFacts("mean", "Mean map", "mean_map", "neither", "", "", ""),
)


def method(name: str, drop: float, rank: int, p_value: float) -> MethodScores:
    scores = {
        "drop": Score(drop, drop - 1, drop + 1, rank, p_value, 9),
        "mean": Score(0.5, 0.25, 0.75, 0, 1.0, 9),
    }
    return MethodScores(name, name, "baseline", scores, {}, MethodCost(1, 0, 0, 12.4, 1.0))


@pytest.fixture
def evaluation() -> Evaluation:
    methods = (method("worst", 60, 3, 0.001), method("tied", 41, 2, 0.3), method("best", 40, 1, 1))
    return Evaluation(
        classifier=NASTY, classifier_fingerprint="", data="photos", data_fingerprint="", images=9,
        skipped=(("torn.jpg", "cut"),), protocol="t-tame", protocol_hash="abc",
        protocol_settings={}, protocol_words=(), columns=COLUMNS, methods=methods, left_out={},
        notes=("few photos",), machine="", date="",
    )  # fmt: skip


def test_the_best_comes_first_and_is_marked(evaluation: Evaluation) -> None:
    page = evaluation._repr_html_()
    assert page.index("best") < page.index("tied") < page.index("worst")
    assert "<b>40.0</b>" in page and "~ 41.0" in page and "~ 60.0" not in page
    found = Tags(page)
    assert f"{NASTY} on 9 images of photos" in found.text and "script" not in found.tags
    for said in (
        "Average Drop ↓",
        "39.0 to 41.0",
        "0.250 to 0.750",
        "few photos",
        "1 photo was not",
    ):
        assert said in found.text


def test_the_plain_words_are_short(evaluation: Evaluation) -> None:
    plain = dataclasses.replace(evaluation, classifier="resnet18")
    assert repr(plain) == "<Evaluation of resnet18 on 9 images: worst, tied, best>"


def test_many_methods_stay_below_the_limit() -> None:
    methods = [method(f"{number}{'x' * 200}", 40 + number, number + 1, 0) for number in range(999)]
    page = evaluation_card(COLUMNS, methods, ["title"])
    shown = Tags(page).tags.count("tr") - 1
    assert len(page) <= 200_000
    assert f"and {999 - shown} more methods" in page
