from __future__ import annotations

import dataclasses
from collections.abc import Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch

from ttame.datasets.texts.text_lines import NamedText
from ttame.errors import TextError, on_command_line
from ttame.explainers.known_explainers import make_explainer
from ttame.explaining.explained_batch import Silence
from ttame.explaining.texts.explain_texts import ExplainingTexts, explain_text_batches
from ttame.processes import Share
from ttame.results.text_explanation import TextExplanation
from ttame.testing import tiny_text_classifier

TEXTS = [
    NamedText("one", "not a bad film"),
    NamedText("long", "bad " * 60),
    NamedText("two", "good", "a dull plot"),
    NamedText("three", "very moving music , really"),
]


class Heard(Silence):
    """What a user is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(on_command_line(text))


class Notes:
    """A writer that keeps what it is given."""

    def __init__(self, finished: Set[int] = frozenset()) -> None:
        self.found: dict[str, tuple[TextExplanation, ...]] = {}
        self.skipped: dict[str, str] = {}
        self.heard = Heard()
        self._finished = finished

    def finished(self) -> Set[int]:
        return self._finished

    def batch(self, number: int) -> AbstractContextManager[Notes]:
        return nullcontext(self)

    def add(self, number: int, explanations: Sequence[TextExplanation], index: int) -> None:
        self.found[TEXTS[number].name] = tuple(each[index] for each in explanations)

    def skip(self, number: int, reason: str) -> None:
        self.skipped[TEXTS[number].name] = reason


@pytest.fixture(scope="module")
def explaining() -> ExplainingTexts:
    explainer: Any = make_explainer("input_x_gradient", tiny_text_classifier())
    return ExplainingTexts(
        TEXTS, {"first": explainer, "second": explainer}, "top1", 3, strict=False
    )


@pytest.fixture(scope="module")
def notes(explaining: ExplainingTexts) -> Notes:
    made = Notes()
    explain_text_batches(explaining, made, listener=made.heard)
    return made


def test_what_fits_is_explained_by_every_method_and_what_does_not_is_named(notes: Notes) -> None:
    assert list(notes.found) == ["one", "two", "three"]
    assert [each.method for each in notes.found["one"]] == ["first", "second"]
    assert notes.skipped == {
        "long": "long has 62 tokens; allowed: at most 32, special ones included"
    }
    assert notes.heard.notes == [
        "skipped texts: --too-long truncate, which cuts its end off, or --too-long windows, which "
        "reads all of it in windows"
    ]


def test_texts_are_explained_as_they_are_alone(notes: Notes, explaining: ExplainingTexts) -> None:
    explainer = explaining.explainers["first"]
    for text in (TEXTS[0], TEXTS[2], TEXTS[3]):
        alone = explainer([text.given])
        together = notes.found[text.name][0]
        assert torch.allclose(together.word_scores(), alone.word_scores(), atol=1e-6)
        assert together.classes.equal(alone.classes)
        assert together.texts[0].texts == alone.texts[0].texts


def test_a_text_that_was_asked_for_must_fit(explaining: ExplainingTexts) -> None:
    strict, made = dataclasses.replace(explaining, strict=True, batch_size=1), Notes()
    with pytest.raises(TextError, match="^long has 62 tokens; .*; try: too_long='truncate'"):
        explain_text_batches(strict, made)
    assert made.found == {}  # That is known before any work.


def test_what_is_finished_or_another_process_does_is_left_out(explaining: ExplainingTexts) -> None:
    one_by_one = dataclasses.replace(explaining, batch_size=1)
    made = Notes({0})
    explain_text_batches(one_by_one, made)
    assert list(made.found) == ["two", "three"]
    made = Notes({2})
    explain_text_batches(one_by_one, made, share=Share(0, 2))
    assert list(made.found) == ["one"] and made.skipped == {}


def test_long_texts_are_read_in_windows_in_their_order(explaining: ExplainingTexts) -> None:
    made = Notes()
    explain_text_batches(dataclasses.replace(explaining, windows=True), made)
    assert list(made.found) == ["one", "long", "two", "three"] and made.skipped == {}
    first, second = made.found["long"]
    assert first.texts[0].text == "bad " * 60 and first.provenance["windows"] == 3
    assert (first.method, second.method) == ("first", "second")
    assert first.classes.equal(second.classes) and not bool(first.word_scores().isnan().any())


def test_what_no_window_can_read_is_skipped(explaining: ExplainingTexts) -> None:
    """Half of a character, zero-width ones, and windows with nothing but padding in them."""
    odd = ["good \ud83d " * 30, "\u200b " * 60, "[PAD] " * 60 + "good", "good"]
    texts = [NamedText(TEXTS[number].name, text) for number, text in enumerate(odd)]
    made = Notes()
    explain_text_batches(dataclasses.replace(explaining, texts=texts, windows=True), made)
    assert list(made.skipped) == ["one", "long", "two"] and list(made.found) == ["three"]
    assert made.skipped["one"].startswith("one holds half of a character")
