"""Token F1 next to sets of words and the harmonic mean."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ttame.metrics.texts.token_f1 import COUNTS, best_token_f1, token_f1

NAN = float("nan")


def by_sets(first: set[int], marked: set[int]) -> float:
    """Precision, recall and their harmonic mean, as the paper defines them."""
    both = len(first & marked)
    if not both:
        return 0.0
    precision, recall = both / len(first), both / len(marked)
    return 100 * 2 * precision * recall / (precision + recall)


def test_by_hand() -> None:
    """Ten words, 2 to 5 marked; the scores put 3, 9, 2, 8 in front."""
    scores = np.array([0.0, 0.1, 0.7, 0.9, 0.2, 0.15, 0.05, 0.01, 0.6, 0.8])
    marked = np.zeros(10, dtype=bool)
    marked[2:6] = True
    found = token_f1(scores, marked, [1, 2, 4, 6, 10])
    # 1 of 1 found, of 4: P 1, R 1/4; 1 of 2; 2 of 4; all 4 of 6; 4 of 10.
    expected = [40.0, 100 * 2 / 6, 50.0, 80.0, 100 * 8 / 14]
    np.testing.assert_allclose(found, expected)


def test_is_the_harmonic_mean_of_precision_and_recall() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        scores = generator.permutation(30).astype(float)
        scores[25:] = NAN
        marked = generator.random(30) < 0.3
        marked[generator.integers(30)] = True
        found = token_f1(scores, marked)
        scored = [word for word in range(30) if not np.isnan(scores[word])]
        ordered = sorted(scored, key=lambda word: -scores[word])
        expected = [by_sets(set(ordered[:k]), set(np.flatnonzero(marked))) for k in COUNTS]
        np.testing.assert_allclose(found, expected)


def test_the_best_is_reached_by_trying_all_orders() -> None:
    marked = np.array([True, False, True, False, True])
    scored = np.array([0.0, 0.0, 0.0, 0.0, NAN])  # the last one lies beyond the model's length
    counts = [1, 2, 3, 4, 5]
    reached = np.max(
        [
            token_f1(np.array([*order, NAN], dtype=float), marked, counts)
            for order in itertools.permutations(range(4))
        ],
        axis=0,
    )
    np.testing.assert_allclose(best_token_f1(scored, marked, counts), reached)
    assert reached[1] == pytest.approx(100 * 4 / 5)  # both of the three that have a score


def test_words_beyond_the_length_count_as_missed() -> None:
    marked = np.array([True, True])
    assert token_f1(np.array([1.0, NAN]), marked, [1, 5]) == pytest.approx([200 / 3, 200 / 3])


def test_texts_without_annotation_have_no_value() -> None:
    nothing = np.zeros(3, dtype=bool)
    assert np.isnan(token_f1(np.arange(3.0), nothing, [1, 2])).all()
    assert np.isnan(best_token_f1(np.arange(3.0), nothing, [1, 2])).all()


def test_maps_without_any_score_find_nothing() -> None:
    none = np.full(3, NAN)
    assert token_f1(none, np.array([True, False, False]), [1, 2]).tolist() == [0.0, 0.0]


def test_equal_scores_do_not_favour_the_beginning() -> None:
    """Where nothing is said, the words found are as many as chance finds."""
    marked = np.zeros(400, dtype=bool)
    marked[:80] = True
    chance = token_f1(np.zeros(400), marked, [80])[0]
    assert 10 < chance < 30  # 100 for those who take the first words, 0 for the last
