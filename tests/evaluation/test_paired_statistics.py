"""Intervals and tests against closed forms and exhaustive enumeration."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest

from ttame.evaluation.paired_statistics import (
    bootstrap_interval,
    corrected,
    grouped,
    images_to_separate,
    permutation_p_value,
    ranks,
)


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(3).normal(5, 2, 400)
    low, high = bootstrap_interval([values], resamples=4000)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half, abs=0.03)
    assert high == pytest.approx(values.mean() + half, abs=0.03)


def test_a_narrower_level_gives_a_narrower_interval() -> None:
    values = np.random.default_rng(3).normal(5, 2, 100)
    low, high = bootstrap_interval([values], level=0.5)
    lower, higher = bootstrap_interval([values], level=0.95)
    assert lower < low < high < higher


def test_a_single_image_has_no_spread() -> None:
    assert bootstrap_interval([np.array([3.0])]) == (3.0, 3.0)


def test_combined_means_are_resampled_together() -> None:
    # Numerator and denominator are the same numbers, so that their ratio never varies.
    values = np.random.default_rng(0).uniform(1, 2, 50)
    low, high = bootstrap_interval([values, values], lambda means: means[0] / means[1])
    assert (low, high) == pytest.approx((1, 1))


def exact_p_value(first: np.ndarray, second: np.ndarray) -> float:
    observed = abs(first.mean() - second.mean())
    found = []
    for exchanged in itertools.product((False, True), repeat=len(first)):
        swap = np.array(exchanged)
        difference = np.where(swap, second - first, first - second).mean()
        found.append(abs(difference) >= observed - 1e-12)
    return float(np.mean(found))


@pytest.mark.parametrize("shift", [0.0, 0.3, 0.8])
def test_permutations_agree_with_all_of_them(shift: float) -> None:
    generator = np.random.default_rng(1)
    first = generator.normal(size=10)
    second = first + generator.normal(shift, 1, 10)
    expected = exact_p_value(first, second)
    assert permutation_p_value([first], [second]) == pytest.approx(expected, abs=0.03)


def test_a_permutation_test_of_a_ratio_is_that_of_its_enumeration() -> None:
    generator = np.random.default_rng(2)
    parts = [generator.uniform(1, 3, 8) for _ in range(4)]

    def ratio(means: list[np.ndarray]) -> np.ndarray:
        return means[0] / means[1]

    found = permutation_p_value(parts[:2], parts[2:], lambda means: ratio(list(means)))
    observed = abs(parts[0].mean() / parts[1].mean() - parts[2].mean() / parts[3].mean())
    as_large = []
    for exchanged in itertools.product((False, True), repeat=8):
        swap = np.array(exchanged)
        ours = [np.where(swap, b, a).mean() for a, b in zip(parts[:2], parts[2:], strict=True)]
        theirs = [np.where(swap, a, b).mean() for a, b in zip(parts[:2], parts[2:], strict=True)]
        as_large.append(abs(ours[0] / ours[1] - theirs[0] / theirs[1]) >= observed - 1e-12)
    assert found == pytest.approx(float(np.mean(as_large)), abs=0.03)


def test_exchangeable_methods_are_rarely_told_apart() -> None:
    generator = np.random.default_rng(5)
    found = [
        permutation_p_value(
            [generator.normal(size=30)], [generator.normal(size=30)], permutations=400
        )
        for _ in range(100)
    ]
    assert np.mean(np.array(found) < 0.05) < 0.12


def test_chance_alone_gives_no_p_value_of_zero() -> None:
    values = np.arange(50.0)
    assert permutation_p_value([values], [values + 9], permutations=99) == pytest.approx(0.01)


def test_holm() -> None:
    assert corrected([0.01, 0.02, 0.03, 0.04]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert corrected([0.5, 0.9]) == [1.0, 1.0]
    assert corrected([]) == []


def test_ranks() -> None:
    assert ranks([1.0, 5.0, float("nan"), 5.0], "higher") == [3, 1, 0, 1]
    assert ranks([1.0, 5.0, 2.0], "lower") == [1, 3, 2]
    assert ranks([1.0, 5.0], "neither") == [0, 0]


def test_images_to_separate_is_the_power_computation_of_a_paired_test() -> None:
    generator = np.random.default_rng(3)
    first = generator.normal(size=200)
    second = first + generator.normal(0.2, 1.0, size=200)
    differences = second - first
    reach = 1.959964 + 0.841621
    expected = (reach * differences.std(ddof=1) / differences.mean()) ** 2
    assert images_to_separate([first], [second]) == math.ceil(expected)
    # Of five tests, each must reach 1 %: z(0.995).
    strict = (2.575829 + 0.841621) ** 2 / reach**2 * expected
    assert images_to_separate([first], [second], tests=5) == pytest.approx(strict, abs=1)


def test_so_many_images_give_the_power_that_is_stated() -> None:
    generator = np.random.default_rng(0)
    pattern = np.tile([1.6, -1.0], 10)  # mean 0.3
    count = images_to_separate([pattern], [np.zeros(20)])
    drawn = generator.choice(pattern, size=(400, count))
    reached = np.abs(drawn.mean(axis=1)) / (drawn.std(axis=1, ddof=1) / np.sqrt(count)) > 1.96
    assert 0.72 < reached.mean() < 0.88


def test_images_to_separate_a_ratio_of_means_uses_its_own_spread() -> None:
    generator = np.random.default_rng(1)
    parts = [generator.uniform(1, 2, size=60) for _ in range(4)]

    def ratio(means: Sequence[np.ndarray]) -> np.ndarray:
        return means[0] / means[1]

    first, second = parts[:2], [parts[2] * 1.1, parts[3]]
    found = images_to_separate(first, second, ratio)
    # By the delta method: one image moves a ratio by (a - r b) / mean(b).
    moved = [(a - a.mean() / b.mean() * b) / b.mean() for a, b in ((first[0], first[1]), second)]
    difference = first[0].mean() / first[1].mean() - second[0].mean() / second[1].mean()
    expected = ((1.959964 + 0.841621) * np.std(moved[0] - moved[1], ddof=1) / difference) ** 2
    assert found == pytest.approx(expected, rel=0.05)


def test_nobody_can_say_how_many_images_separate_equals_or_a_handful() -> None:
    values = np.arange(20.0)
    assert images_to_separate([values], [values]) == 0
    assert images_to_separate([values], [values + 1]) == 0  # no spread
    assert images_to_separate([values[:9]], [values[:9] * 2]) == 0


def test_groups_of_images_keep_the_mean_and_the_width_of_the_interval() -> None:
    """By the normal distribution: 1.96 standard deviations over the root of the count."""
    values = np.random.default_rng(0).exponential(size=30_007)
    (groups,) = grouped([values])
    assert len(groups) == 10_000
    assert groups.mean() == pytest.approx(values.mean(), rel=1e-12)
    low, high = bootstrap_interval([values], resamples=1000)
    expected = 2 * 1.96 * values.std() / math.sqrt(len(values))
    assert high - low == pytest.approx(expected, rel=0.08)
    assert low < values.mean() < high


def test_pairs_stay_together_in_groups() -> None:
    values = np.random.default_rng(0).normal(size=(2, 25_000))
    first, second = grouped([values[0], values[0] + 1])
    # Groups have two or three images.
    assert set(np.round(second - first, 6)) == {0.8, 1.2}
    shifted = values[0] + 0.01 * values[1] + 0.001
    assert permutation_p_value([values[0]], [shifted], permutations=200) < 0.02
    even = values[0] + 0.01 * values[1]
    assert permutation_p_value([values[0]], [even], permutations=200) > 0.02


def test_what_is_drawn_piece_by_piece_is_what_is_drawn_at_once() -> None:
    values = np.random.default_rng(1).random(2500)
    count, rows = len(values), 4_000_000 // len(values)
    drawn = [
        np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=size)
        for seed, size in enumerate((rows, 2000 - rows))
    ]
    numbers = np.concatenate(drawn) @ values / count
    expected = np.quantile(numbers, [0.025, 0.975])
    assert np.allclose(bootstrap_interval([values]), expected, rtol=1e-12, atol=0)

    other = values + np.random.default_rng(2).normal(0.001, 0.05, count)
    exchanged = np.random.default_rng(0).integers(0, 2, size=(600, count)).astype(bool)
    differences = np.where(exchanged, values - other, other - values).mean(1)
    as_large = (abs(differences) >= abs((other - values).mean()) * (1 - 1e-9)).sum()
    found = permutation_p_value([values], [other], permutations=600)
    assert found == (as_large + 1) / 601
    assert 0.01 < found < 0.99


def test_the_memory_of_resampling_does_not_grow_with_the_number_of_columns() -> None:
    values = np.random.default_rng(1).random(4000)
    tracemalloc.start()
    for column in range(3):
        bootstrap_interval([values + column])
    permutation_p_value([values], [values * 1.01])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # A byte for each image and resample, and some slices of 4 MB.
    assert peak < 4000 * 2000 + 20e6
