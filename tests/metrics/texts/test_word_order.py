"""Ranking, merging and hiding, on texts of a few tokens."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttame.metrics.texts.word_order import (
    Merging,
    most_relevant_first,
    only_first,
    taken,
    without_first,
    word_scores,
)

NAN = float("nan")


def test_words_without_a_score_are_not_ranked() -> None:
    order = most_relevant_first(np.array([NAN, 0.5, -1.0, NAN, 2.0]))
    assert order.tolist() == [4, 1, 2]


def test_equal_scores_are_in_one_order_that_favours_no_place() -> None:
    even = np.zeros(50)
    order = most_relevant_first(even)
    assert sorted(order) == list(range(50))
    assert order.tolist() != list(range(50)) and order.tolist() != list(range(49, -1, -1))
    assert order.tolist() == most_relevant_first(even + 3).tolist()
    assert order.tolist() != most_relevant_first(even, seed=1).tolist()
    # The first 25 of them lie in both halves of the text.
    assert 5 < (order[:25] < 25).sum() < 20


def test_a_word_has_the_maximum_of_its_pieces() -> None:
    scores = np.array([7.0, 0.1, 0.3, -0.4, -0.2, -0.9, 7.0])
    words = np.array([-1, 0, 0, 2, 2, 2, -1])
    np.testing.assert_array_equal(word_scores(scores, words, 4), [0.3, NAN, -0.2, NAN])


def test_a_word_has_the_piece_of_largest_magnitude() -> None:
    scores = np.array([0.1, -0.3, 0.5, -0.5, -0.5, 0.5])
    words = np.array([0, 0, 1, 1, 2, 2])
    merged = word_scores(scores, words, 3, "largest magnitude")
    assert merged.tolist() == [-0.3, 0.5, 0.5]


@given(
    st.lists(st.tuples(st.integers(-1, 5), st.integers(-9, 9)), max_size=30),
    st.sampled_from(get_args(Merging)),
)
def test_merging_is_what_a_loop_says(tokens: list[tuple[int, int]], merging: Merging) -> None:
    words = np.array([word for word, _ in tokens], dtype=int)
    scores = np.array([score for _, score in tokens], dtype=float)
    expected = []
    for number in range(6):
        own = [score for word, score in tokens if word == number]
        key = (lambda value: (abs(value), value)) if merging != "maximum" else None
        expected.append(max(own, key=key) if own else NAN)
    np.testing.assert_array_equal(word_scores(scores, words, 6, merging), expected)


@pytest.mark.parametrize(
    ("share", "of", "count"),
    [(0.01, 100, 1), (0.01, 101, 2), (0.07, 100, 7), (0.5, 3, 2), (1.0, 3, 3), (0.2, 0, 0)],
)
def test_shares_are_rounded_up(share: float, of: int, count: int) -> None:
    assert taken(share, of) == count


def test_special_tokens_stay_and_words_go_as_a_whole() -> None:
    units = np.array([-1, 0, 1, 1, 2, -1])
    ranking = np.array([1, 2, 0])
    gone = without_first(ranking, units, [0, 1, 2, 3])
    assert gone.astype(int).tolist() == [
        [1, 1, 1, 1, 1, 1],
        [1, 1, 0, 0, 1, 1],
        [1, 1, 0, 0, 0, 1],
        [1, 0, 0, 0, 0, 1],
    ]
    alone = only_first(ranking, units, [0, 1, 2, 3])
    assert alone.astype(int).tolist() == [
        [1, 0, 0, 0, 0, 1],
        [1, 0, 1, 1, 0, 1],
        [1, 0, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1],
    ]


def test_words_beyond_the_length_are_passed_over() -> None:
    """Word 3 has no token here, and so no score."""
    units = np.array([-1, 2, 0, 1, -1])
    ranking = most_relevant_first(np.array([0.1, 0.9, 0.5, NAN]))
    assert without_first(ranking, units, [1]).astype(int).tolist() == [[1, 1, 1, 0, 1]]


def test_a_text_of_special_tokens_alone() -> None:
    nothing = np.array([], dtype=int)
    assert without_first(nothing, np.array([-1, -1]), [0, 0]).all()
    assert only_first(nothing, np.array([-1, -1]), [0]).all()
