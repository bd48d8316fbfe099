from __future__ import annotations

import pytest

from ttame.errors import TextError
from ttame.testing import tiny_text_classifier
from ttame.text_classifiers.long_texts import LongText
from ttame.text_classifiers.text_classifier import TextClassifier


@pytest.fixture(scope="module")
def classifier() -> TextClassifier:
    return tiny_text_classifier()


@pytest.mark.parametrize(
    "text", ["a really good film , unlikely sad ! " * 12, "unlikely " * 40, "bad"]
)
def test_windows_cover_the_text_and_are_read_as_the_whole_is(
    classifier: TextClassifier, text: str
) -> None:
    long = LongText.of(classifier, text)
    whole = long.tokenised
    covered = {place for each in long.windows for place in range(each.start, each.end)}
    assert covered == set(range(len(whole.tokens)))
    batch = classifier.tokenise([*long.pieces])  # Not one of them is too long.
    for number, (window, piece) in enumerate(zip(long.windows, batch.texts, strict=True)):
        wanted = list(whole.tokens[window.start : window.end])
        assert [piece.tokens[place] for place in long.places(number, piece)] == wanted
        assert whole.words[window.start] != whole.words[window.start - 1] or window.start == 0
    assert (len(long.windows) > 1) == (len(text) > 10)


def test_a_word_that_no_window_holds_is_cut(classifier: TextClassifier) -> None:
    """One word of 46 tokens."""
    long = LongText.of(classifier, "bad" + "ly" * 45)
    assert [(each.start, each.end) for each in long.windows] == [(0, 30), (16, 46)]
    for number, piece in enumerate(classifier.tokenise([*long.pieces]).texts):
        assert len(long.places(number, piece)) == len(long.windows[number])


def test_a_text_without_tokens_is_refused(classifier: TextClassifier) -> None:
    with pytest.raises(TextError, match="a text without tokens"):
        LongText.of(classifier, "   ")
