"""Moved pictures, pixel by pixel."""

from __future__ import annotations

import torch

from ttame.images.moved_images import Move, moved, moved_in


def test_a_move_mirrors_first_and_shifts_then() -> None:
    images = torch.rand(1, 2, 5, 6)
    found = moved(images, Move(mirrored=True, down=2, right=-1))
    for row in range(5):
        for column in range(6):
            y, x = min(max(row - 2, 0), 4), min(max(column + 1, 0), 5)
            assert torch.equal(found[..., row, column], images[..., y, 5 - x])


def test_no_move_changes_nothing() -> None:
    images = torch.rand(1, 1, 3, 4)
    assert torch.equal(moved(images, Move()), images)
    assert bool(moved_in((3, 4), Move(mirrored=True)).all())


def test_what_came_in_at_an_edge_was_not_there_before() -> None:
    there = moved_in((4, 5), Move(down=-1, right=2))[0, 0]
    assert there.tolist() == [[0, 0, 1, 1, 1]] * 3 + [[0] * 5]
