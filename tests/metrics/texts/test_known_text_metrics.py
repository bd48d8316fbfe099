"""Every metric of texts: its facts are true of its function."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from ttame.errors import UnknownNameError
from ttame.metrics.texts.auprc import auprc
from ttame.metrics.texts.known_text_metrics import TEXT_METRICS, known_text_metrics
from ttame.metrics.texts.measured_text import MeasuredText
from ttame.metrics.texts.text_protocol import TextProtocol
from ttame.metrics.texts.token_f1 import best_token_f1, token_f1

PROTOCOL = TextProtocol("test", counts=(3, 48), shares=(0.1, 0.5), steps=4)

OTHERWISE: dict[str, Any] = {
    "merging": "largest magnitude",
    "clamped": False,
    "unit": "tokens",
    "counts": (2, 40),
    "shares": (0.2, 0.9),
    "steps": 3,
    "area": "trapezoids",
    "seed": 5,
}
"""Another value of every setting that these functions can notice."""


def text(number: int = 3, **changed: Any) -> MeasuredText:
    """62 words of one to three pieces, with many equal scores, the last two unseen."""
    generator = np.random.default_rng(number)
    words = np.array([-1, *np.repeat(np.arange(60), generator.integers(1, 4, 60)), -1])
    scores = generator.integers(-3, 3, len(words)).astype(float)
    worth = generator.random(len(words)) / len(words)
    marked = generator.random(62) < 0.3
    given: dict[str, Any] = {
        "scores": scores,
        "words": words,
        "number_of_words": 62,
        "probability": lambda kept: kept @ worth,
        "rationale": marked,
    }
    return MeasuredText(**{**given, **changed})


@pytest.mark.parametrize("metric", TEXT_METRICS.values(), ids=list(TEXT_METRICS))
def test_values_are_in_bounds_and_under_the_names_of_the_columns(metric: Any) -> None:
    found = metric.function(text(), PROTOCOL)
    assert metric.name in found
    assert all(key == metric.name or ".curve@" in key for key in found)
    assert all(metric.bounds[0] <= value <= metric.bounds[1] for value in found.values())
    assert bool(metric.curve_over) == (len(found) > 1)


@pytest.mark.parametrize("metric", TEXT_METRICS.values(), ids=list(TEXT_METRICS))
def test_numbers_depend_on_the_settings_that_are_named_and_no_others(metric: Any) -> None:
    texts = [text(number) for number in range(6)]
    before = [metric.function(text, PROTOCOL) for text in texts]
    for name, value in OTHERWISE.items():
        protocol = dataclasses.replace(PROTOCOL, **{name: value})
        after = [metric.function(text, protocol) for text in texts]
        assert (before != after) == (name in metric.reads), name


@pytest.mark.parametrize("metric", TEXT_METRICS.values(), ids=list(TEXT_METRICS))
def test_special_tokens_are_never_ranked(metric: Any) -> None:
    plain = text()
    loud = plain.scores.copy()
    loud[[0, -1]] = 1e6
    assert metric.function(text(scores=loud), PROTOCOL) == metric.function(plain, PROTOCOL)


@pytest.mark.parametrize("metric", TEXT_METRICS.values(), ids=list(TEXT_METRICS))
def test_metrics_that_need_rationales_have_no_value_without(metric: Any) -> None:
    found = metric.function(text(rationale=None), PROTOCOL)
    assert bool(np.isnan(found[metric.name])) == metric.needs_rationales


def test_rationales_are_compared_with_words_clamped_at_0() -> None:
    given = text()
    scores = np.maximum(given.scores_of_words("maximum"), 0)
    marked = given.marked()
    found = TEXT_METRICS["token_f1"].function(given, PROTOCOL)
    values = token_f1(scores, marked, (3, 48))
    assert found["token_f1"] == values.mean()
    assert [found["token_f1.curve@3"], found["token_f1.curve@48"]] == values.tolist()
    best = TEXT_METRICS["best_token_f1"].function(given, PROTOCOL)
    assert best["best_token_f1.curve@48"] == best_token_f1(scores, marked, (3, 48))[1]
    assert TEXT_METRICS["auprc"].function(given, PROTOCOL)["auprc"] == auprc(scores, marked)


def test_curves_begin_and_end_where_the_text_is_whole_or_gone() -> None:
    given = text()
    whole, nothing = 100 * given.probability(np.stack([given.words > -2, given.words < 0]))
    deleted = TEXT_METRICS["deletion"].function(given, PROTOCOL)
    inserted = TEXT_METRICS["insertion"].function(given, PROTOCOL)
    assert deleted["deletion.curve@0"] == inserted["insertion.curve@100"] == pytest.approx(whole)
    assert deleted["deletion.curve@100"] == inserted["insertion.curve@0"] == pytest.approx(nothing)


def test_unknown_names_are_refused_with_near_matches() -> None:
    with pytest.raises(UnknownNameError, match="comprehensiveness"):
        known_text_metrics(["comprehensivness"])
    assert [metric.name for metric in known_text_metrics(["auprc", "auprc"])] == ["auprc"]
