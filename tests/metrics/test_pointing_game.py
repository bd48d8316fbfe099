"""The pointing game by hand and counted one by one."""

from __future__ import annotations

import itertools

import pytest
import torch

from tests.metrics.measured import one, where
from ttame.errors import TtameError
from ttame.metrics.pointing_game import near, pointing_game


def test_pointing_by_hand() -> None:
    maps = one([0, 1, 9, 2], [0, 0, 0, 0])
    assert pointing_game(maps, where([0, 0, 1, 0], [0, 0, 0, 0])).tolist() == [100.0]
    assert pointing_game(maps, where([1, 1, 0, 1], [1, 1, 1, 1])).tolist() == [0.0]
    two_maxima = one([0, 9, 9, 2], [0, 0, 0, 0])
    assert pointing_game(two_maxima, where([0, 0, 1, 0], [0, 0, 0, 0])).tolist() == [50.0]


def test_tolerance_is_euclidean() -> None:
    maps = torch.zeros(1, 9, 9)
    maps[0, 4, 4] = 1
    target = torch.zeros(1, 9, 9, dtype=torch.bool)
    target[0, 1, 1] = True  # √18 = 4.24 pixels away
    assert pointing_game(maps, target, tolerance=4).tolist() == [0.0]
    assert pointing_game(maps, target, tolerance=5).tolist() == [100.0]


def test_near_counted_one_by_one() -> None:
    targets = torch.rand(2, 7, 9) > 0.93
    for distance in (0, 1, 2, 3):
        found = near(targets, distance)
        for b, y, x in itertools.product(range(2), range(7), range(9)):
            slow = any(
                (y - v) ** 2 + (x - u) ** 2 <= distance**2 for v, u in targets[b].nonzero().tolist()
            )
            assert bool(found[b, y, x]) == slow
    with pytest.raises(TtameError, match="tolerance -1"):
        near(targets, -1)
