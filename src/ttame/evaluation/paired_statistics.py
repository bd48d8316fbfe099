"""Intervals and tests for methods that were measured on the same images.

Values stand in arrays of (images, methods). A number of the table may be more than a mean: it is
``combine`` of the means of several parts. Resampling images gives its interval, exchanging two
methods' values image by image its test, whatever ``combine`` is.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Callable, Sequence

import numpy as np

Values = Sequence[np.ndarray]
"""One (n,) array for each part of a column."""

CombineMeans = Callable[[Sequence[np.ndarray]], np.ndarray]
"""(R,) means of each part to (R,) numbers."""

RESAMPLES = 2000
PERMUTATIONS = 5000
LEVEL = 0.95
SIGNIFICANCE = 0.05
POWER = 0.8
_LEAST_IMAGES = 10
"""Fewer say too little about how much differences spread."""

MOST_UNITS = 10_000
"""Images that are resampled and exchanged one by one. More are put into so many groups, of
neighbours in a random order, which changes the width of an interval by less than 1 %: what is drawn
for a million images would take hours."""

_OF_ONE_SEED = 4_000_000
"""Numbers of a random matrix that one seed draws. Another size would draw other intervals."""

_AT_ONCE = 500_000
"""Numbers of a random matrix that are held as floats at a time: 4 MB."""


def the_mean(means: Sequence[np.ndarray]) -> np.ndarray:
    """The number of a column with a single part."""
    return means[0]


def bootstrap_interval(
    parts: Values,
    combine: CombineMeans = the_mean,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> tuple[float, float]:
    """The percentile interval of a number over resampled images.

    Args:
        parts: (n,) values of the images that have one.
        combine: means to the number.
        resamples: how many.
        level: the level of confidence.
        seed: the seed of the resampling.

    Returns:
        Its ends; both are the number itself where there is a single image.

    Example:
        >>> low, high = bootstrap_interval([np.array([0.0, 1.0] * 50)])
        >>> 0.39 < low < 0.43 and 0.57 < high < 0.61
        True
    """
    parts = grouped(parts)
    count = len(parts[0])
    numbers: list[np.ndarray] = []
    for counts in _resampling(count, resamples, seed):
        times = counts.astype(float)
        numbers.append(combine([times @ part / count for part in parts]))
    low, high = np.quantile(np.concatenate(numbers), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def grouped(parts: Values, units: int = MOST_UNITS) -> list[np.ndarray]:
    """The values of images, or where there are more than ``units``, of so many groups of images.

    A group's value is its sum over the mean number of images of a group, so that means stay what
    they are. Which images are together depends on their number alone: it is the same for both
    methods of a pair, and images that are exchangeable are so in groups.

    Args:
        parts: (n,) values for each part.
        units: how many values to have at most.

    Example:
        >>> (values,) = grouped([np.arange(10.0)], units=3)
        >>> len(values), float(values.mean())
        (3, 4.5)
    """
    count = len(parts[0])
    if count <= units:
        return list(parts)
    order = np.random.default_rng(0).permutation(count)
    starts = np.arange(units) * count // units
    return [np.add.reduceat(part[order], starts) * (units / count) for part in parts]


def permutation_p_value(
    first: Values,
    second: Values,
    combine: CombineMeans = the_mean,
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> float:
    """How often a difference this large comes about if the two methods are exchangeable.

    Two-sided. The methods' values are exchanged on a random half of the images. The observed
    arrangement counts as one of the permutations, so that p is never 0.

    Args:
        first: (n,) values of one method for each part.
        second: those of the other method, on the same images.
        combine: means to the number.
        permutations: how many.
        seed: the seed of the exchanges.

    Example:
        >>> values = np.arange(20.0)
        >>> permutation_p_value([values], [values])
        1.0
        >>> permutation_p_value([values], [values + 1]) < 0.001
        True
    """
    first, second = grouped(first), grouped(second)
    count = len(first[0])
    means = [np.array([part.mean()]) for part in first], [np.array([p.mean()]) for p in second]
    observed = abs(combine(means[0]) - combine(means[1]))[0]
    # Rounding must not make a difference of its own.
    scale = max(abs(combine(means[0])[0]), abs(combine(means[1])[0]), 1e-300)
    threshold = observed - 1e-9 * scale
    generator = np.random.default_rng(seed)
    as_large = 0
    for chosen in _chunks(permutations, count, _AT_ONCE):
        exchanged = generator.integers(0, 2, size=(chosen, count)).astype(float)
        numbers = []
        for ours, theirs in ((first, second), (second, first)):
            numbers.append(
                combine(
                    [
                        a.mean() + exchanged @ (b - a) / count
                        for a, b in zip(ours, theirs, strict=True)
                    ]
                )
            )
        as_large += int((abs(numbers[0] - numbers[1]) >= threshold).sum())
    return (as_large + 1) / (permutations + 1)


def sign_flip_p_values(
    differences: np.ndarray, *, permutations: int = PERMUTATIONS, seed: int = 0
) -> list[float]:
    """:func:`permutation_p_value` of several plain means at once, from one set of exchanges.

    Exchanging the values of two methods flips the sign of their difference.

    Args:
        differences: (n, F), one method's values minus the other's, by image and column.
        permutations: how many.
        seed: the seed of the exchanges.

    Example:
        >>> sign_flip_p_values(np.stack([np.zeros(20), np.ones(20)], axis=1))[0]
        1.0
    """
    columns = grouped(list(differences.T))
    values = np.stack(columns, axis=1)
    count = len(values)
    observed = np.abs(values.mean(axis=0))
    threshold = observed - 1e-9 * np.maximum(np.abs(values).max(axis=0), 1e-300)
    generator = np.random.default_rng(seed)
    as_large = np.zeros(values.shape[1], dtype=int)
    for chosen in _chunks(permutations, count, _AT_ONCE):
        exchanged = generator.integers(0, 2, size=(chosen, count)).astype(float)
        numbers = values.mean(axis=0) - 2 * exchanged @ values / count
        as_large += (np.abs(numbers) >= threshold).sum(axis=0)
    return [float(p) for p in (as_large + 1) / (permutations + 1)]


def images_to_separate(
    first: Values, second: Values, combine: CombineMeans = the_mean, *, tests: int = 1
) -> int:
    """How many images would separate two methods, if their difference stays as it is.

    A normal approximation of the paired, two-sided test: with m the difference of the two numbers
    and s the spread of one image's part in it (by the jackknife; of means, the standard deviation
    of the paired differences), n = ((z(1 - 0.05 / (2 tests)) + z(0.8)) s / m)². So many images
    give the test a power of 80 % at the strictest step of Holm's correction.

    Args:
        first: (n,) values of one method for each part.
        second: those of the other method, on the same images.
        combine: means to the number.
        tests: for which p-values are corrected.

    Returns:
        The number of images, 0 where it cannot be computed: of fewer than 10 images, or of methods
        without any difference or spread.

    Example:
        >>> values = np.arange(20.0)
        >>> images_to_separate([values], [values + np.tile([2.0, -1.0], 10)])
        75
    """
    count = len(first[0])
    if count < _LEAST_IMAGES:
        return 0
    whole = [combine([np.array([part.mean()]) for part in side])[0] for side in (first, second)]
    without = [
        combine([(part.sum() - part) / (count - 1) for part in side]) for side in (first, second)
    ]
    difference = float(whole[0] - whole[1])
    spread = float(np.std(without[0] - without[1], ddof=1)) * (count - 1)
    scale = max(abs(whole[0]), abs(whole[1]), 1e-300)
    known = math.isfinite(spread) and math.isfinite(difference)
    if not known or min(abs(difference), spread) <= 1e-9 * scale:
        return 0
    normal = statistics.NormalDist()
    reach = normal.inv_cdf(1 - SIGNIFICANCE / (2 * tests)) + normal.inv_cdf(POWER)
    return math.ceil((reach * spread / difference) ** 2)


def corrected(p_values: Sequence[float]) -> list[float]:
    """Holm's correction for several tests at once.

    Example:
        >>> corrected([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    result = [1.0] * len(p_values)
    running = 0.0
    for place, index in enumerate(order):
        running = max(running, (len(p_values) - place) * p_values[index])
        result[index] = min(1.0, running)
    return result


def ranks(numbers: Sequence[float], better: str) -> list[int]:
    """1 for the best; equal numbers share a rank; 0 for NaN, and where none is better.

    Example:
        >>> ranks([3.0, 1.0, 3.0, float("nan")], "higher")
        [1, 3, 1, 0]
    """
    if better == "neither":
        return [0] * len(numbers)
    sign = -1 if better == "higher" else 1
    keys = [sign * number for number in numbers]
    return [0 if np.isnan(key) else 1 + sum(other < key for other in keys) for key in keys]


@functools.lru_cache(maxsize=1)
def _resampling(count: int, resamples: int, seed: int) -> tuple[np.ndarray, ...]:
    """(R, n) how often each image is drawn, some resamples at a time.

    All methods are resampled alike, so drawing it once serves a whole table. Most images are drawn
    a few times, which a byte holds: 20 MB for 10,000 images.
    """
    found: list[np.ndarray] = []
    for chunk, size in enumerate(_chunks(resamples, count, _OF_ONE_SEED)):
        generator = np.random.default_rng(seed + chunk)
        for rows in _chunks(size, count, _AT_ONCE):
            counts = generator.multinomial(count, np.full(count, 1 / count), size=rows)
            found.append(counts.astype(np.min_scalar_type(int(counts.max()))))
    return tuple(found)


def _chunks(total: int, width: int, at_once: int) -> list[int]:
    """How many rows of a matrix of that width to draw at a time."""
    size = max(1, at_once // max(1, width))
    return [min(size, total - start) for start in range(0, total, size)]
