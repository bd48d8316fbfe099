from __future__ import annotations

import math
import random

import pytest

from benchmarks.explain_start import FEWEST_PAIRS, OURS, median_interval, usage


def test_the_interval_holds_the_median_as_often_as_said() -> None:
    """Of many measurements of a known median, against the binomial distribution."""
    numbers = random.Random(3)
    for count in (6, 15, 20):
        held = 0
        for _ in range(2000):
            values = [numbers.lognormvariate(0, 1) for _ in range(count)]  # median 1
            interval = median_interval(values)
            assert interval is not None
            held += interval[0] <= 1 <= interval[1]
        assert 0.94 <= held / 2000 <= 0.99


def test_the_interval_is_that_of_the_tables() -> None:
    assert median_interval(range(15)) == (3, 11)  # the 4th and 12th of 15
    assert median_interval([3, 1, 2, 6, 5, 4]) == (1, 6)
    assert median_interval([1.0] * (FEWEST_PAIRS - 1)) is None
    assert math.isclose(2 * 0.5 ** (FEWEST_PAIRS - 1), 0.0625)


def test_usage_is_that_of_the_process_and_failures_are_shown() -> None:
    busy = "import os; x = b'1' * 60_000_000\nwhile os.times().user < 0.3: pass"
    small = usage(OURS, ["-S", "-c", "pass"])
    large = usage(OURS, ["-S", "-c", busy])
    assert 50 < large.peak - small.peak < 80
    assert large.user > 0.2 > small.user >= 0  # kernels that count in ticks call a short run 0 s
    assert large.wall > 0
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        usage(OURS, ["-S", "-c", "1 / 0"])
