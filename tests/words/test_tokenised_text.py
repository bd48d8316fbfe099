"""Tokens, their characters and their words, against texts that were cut by hand."""

from __future__ import annotations

import pytest

from ttame.errors import TextError
from ttame.words.tokenised_text import TokenisedText, word_spans


def test_words_are_the_pieces_between_white_space() -> None:
    text = "\tIt's not\n bad! "
    assert [text[a:b] for a, b in word_spans(text)] == ["It's", "not", "bad!"] == text.split()
    assert word_spans("") == word_spans(" \n") == ()


def test_pieces_and_punctuation_belong_to_the_word_they_stand_in() -> None:
    tokens = ("[CLS]", "un", "##like", "##ly", "!", "Yes", "[SEP]", "[PAD]")
    spans = (None, (0, 2), (2, 6), (6, 8), (8, 9), (10, 13), None, None)
    special = (True, False, False, False, False, False, True, True)
    text = TokenisedText.of("unlikely! Yes", tokens, spans=spans, special=special)
    assert text.words == (None, 0, 0, 0, 0, 1, None, None)
    assert text.words_of(0) == ("unlikely!", "Yes")
    assert text.part == (0,) * 8


def test_white_space_before_a_word_belongs_to_no_other_word() -> None:
    text = TokenisedText.of(
        "a  bc", ["a", " ", " bc"], spans=[(0, 1), (1, 2), (2, 5)], special=[False] * 3
    )
    assert text.words == (0, None, 1)


def test_the_words_of_a_pair_are_counted_in_their_own_text() -> None:
    text = TokenisedText.of(
        "one two",
        ["<s>", "one", "two", "</s>", "three", "</s>"],
        spans=[(0, 0), (0, 3), (4, 7), (0, 0), (0, 5), (0, 0)],
        special=[True, False, False, True, False, True],
        pair="three",
        part=[0, 0, 0, 0, 1, 0],
    )
    assert text.words == (None, 0, 1, None, 0, None)
    assert text.spans[0] is None
    assert text.words_of(1) == ("three",)
    assert text.texts == ("one two", "three")


def test_parts_of_different_lengths_are_refused() -> None:
    with pytest.raises(TextError, match="2 tokens, 1 spans"):
        TokenisedText("a", None, ("a", "b"), ((0, 1),), (False, False), (0, 0), (0, 0))
