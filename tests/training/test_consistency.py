"""Maps of moved photos: exact where they should agree, and trained to agree."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.training.training_material import log_of, noise_photos, quick, tiny_cnn, train
from ttame.images.moved_images import Move
from ttame.training.consistency import disagreement, drawn_move


def test_a_map_that_moves_with_the_photo_agrees() -> None:
    maps = torch.rand(3, 1, 8, 8)
    shifted = torch.rand(3, 1, 8, 8)
    shifted[..., 2:, :-1] = maps[..., :-2, 1:]
    # Two cells down and one to the left, of four pixels each.
    move = Move(down=8, right=-4)
    assert float(disagreement(maps, shifted, move, (32, 32))) < 0.12  # of resizing
    assert float(disagreement(maps, shifted, move._replace(down=-8), (32, 32))) > 0.5
    assert float(disagreement(maps, 3 * maps.flip(-1) + 2, Move(True), (32, 32))) < 1e-5
    assert float(disagreement(maps, -maps, Move(), (32, 32))) == pytest.approx(2, abs=1e-4)


def test_it_is_one_less_the_correlation_of_what_both_show() -> None:
    maps, other = torch.rand(2, 1, 4, 6), torch.rand(2, 1, 4, 6)
    found = disagreement(maps, other, Move(down=1), (4, 6))
    expected = []
    for one, two in zip(maps[:, 0, :3], other[:, 0, 1:], strict=True):
        pair = torch.stack([one.flatten(), two.flatten()])
        expected.append(1 - float(torch.corrcoef(pair)[0, 1]))
    assert float(found) == pytest.approx(sum(expected) / 2, abs=1e-4)


def test_moves_are_drawn_within_an_eighth() -> None:
    generator = torch.Generator().manual_seed(0)
    moves = [drawn_move((32, 64), generator) for _ in range(200)]
    assert {move.mirrored for move in moves} == {True, False}
    assert {move.down for move in moves} == set(range(-4, 5))
    assert max(abs(move.right) for move in moves) == 8


def test_training_makes_the_maps_agree(tmp_path: Path) -> None:
    settings = quick("few-shot-quick", epochs=8, learning_rate=0.02, consistency=0.5)
    train(tiny_cnn(), noise_photos(23), tmp_path / "out", settings)
    parts = [line["consistency"] for line in log_of(tmp_path / "out") if "consistency" in line]
    assert len(parts) == 8 * 5
    assert sum(parts[-10:]) < 0.9 * sum(parts[:10])
