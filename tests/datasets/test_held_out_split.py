from __future__ import annotations

import pytest

from ttame.datasets.held_out_split import split_held_out
from ttame.errors import DatasetError, TrainingError


@pytest.mark.parametrize("length", [2, 3, 10, 997])
@pytest.mark.parametrize("share", [0.001, 0.05, 0.5, 0.999])
def test_parts_are_sorted_disjoint_complete_and_of_the_asked_size(
    length: int, share: float
) -> None:
    kept, held_out = split_held_out(length, share, seed=3)
    assert list(kept) == sorted(kept)
    assert list(held_out) == sorted(held_out)
    assert sorted(kept + held_out) == list(range(length))
    assert kept
    assert held_out
    if 1 <= length * share <= length - 1:
        assert abs(len(held_out) - length * share) <= 0.5


def test_depends_on_the_seed_and_on_nothing_else() -> None:
    assert split_held_out(100, 0.2, 0) == split_held_out(100, 0.2, 0)
    assert split_held_out(100, 0.2, 0) != split_held_out(100, 0.2, 1)


def test_every_photo_is_held_out_about_equally_often() -> None:
    times = [0] * 10
    for seed in range(2000):
        for index in split_held_out(10, 0.2, seed)[1]:
            times[index] += 1
    # Binomial with n = 2000 and p = 0.2: 400 ± 18; five standard deviations.
    assert all(310 < count < 490 for count in times)


def test_single_photo_is_trained_on() -> None:
    assert split_held_out(1, 0.5, 0) == ((0,), ())


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 5.0, float("nan")])
def test_impossible_shares_are_refused(share: float) -> None:
    with pytest.raises(TrainingError, match=r"held-out share .*allowed: above 0 and below 1"):
        split_held_out(10, share, 0)


def test_no_photos_are_refused() -> None:
    with pytest.raises(DatasetError, match="0 photos to split"):
        split_held_out(0, 0.5, 0)
