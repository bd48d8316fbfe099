"""Hard masks by hand, with loops, and next to Average Drop."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.metrics.measured import batch_of, brightness, grey, plain
from ttame.metrics.average_drop import average_drop
from ttame.metrics.hard_masks import (
    HARD_MASK_KEPT,
    HARD_MASK_REMOVED,
    hard_mask_kept,
    hard_mask_removed,
)
from ttame.metrics.pixel_ranking import most_relevant_first
from ttame.metrics.protocol import Protocol

IMAGE = grey(0.8, 0.4, 0.2, 0.6)  # brightness 0.5
ORDER = torch.tensor([[[1.0, 4.0, 3.0, 2.0]]])  # second, third, fourth, first
FIRST = torch.tensor([0])


def kept(share: float, maps: Tensor = ORDER) -> float:
    return hard_mask_kept(brightness, IMAGE, maps, FIRST, plain(1, 4), kept_share=share).item()


def removed(share: float, maps: Tensor = ORDER) -> float:
    return hard_mask_removed(
        brightness, IMAGE, maps, FIRST, plain(1, 4), removed_share=share
    ).item()


def test_four_pixels_by_hand() -> None:
    # 0.4 of 2.0 is kept with the second pixel, 0.6 with the third as well, and so on.
    assert [kept(share) for share in (0.25, 0.5, 0.75, 1.0)] == pytest.approx([20, 30, 60, 100])
    assert [removed(s) for s in (0.25, 0.5, 0.75, 1.0)] == pytest.approx([80, 70, 40, 0])


def test_how_bright_a_map_is_makes_no_difference() -> None:
    assert kept(0.5, ORDER**7) == kept(0.5, 0.01 * ORDER - 5) == kept(0.5)


def test_a_class_that_becomes_more_probable_gains_nothing() -> None:
    dark = torch.tensor([1])  # 1 - brightness grows where pixels become black
    found = hard_mask_kept(brightness, IMAGE, ORDER, dark, plain(1, 4), kept_share=0.25)
    assert found.item() == 100
    found = hard_mask_removed(brightness, IMAGE, ORDER, dark, plain(1, 4), removed_share=0.75)
    assert found.item() == 100


def test_of_an_impossible_class_nothing_can_be_lost() -> None:
    black = torch.zeros_like(IMAGE)
    found = hard_mask_kept(brightness, black, ORDER, FIRST, plain(1, 4), kept_share=0.25)
    assert found.item() == 100


def test_exactly_the_share_is_shown_of_a_map_full_of_equal_values() -> None:
    images, maps = torch.rand(3, 3, 5, 6), torch.zeros(3, 5, 6)
    maps[:, 0, 0] = 1
    found = hard_mask_kept(
        brightness, images, maps, torch.zeros(3).long(), plain(5, 6), kept_share=0.4, seed=2
    )
    for row, order in enumerate(most_relevant_first(maps, 2).tolist()):
        total = sum(float(images[row].flatten(1)[:, pixel].mean()) for pixel in order[:12])
        expected = 100 * total / float(images[row].mean() * 30)
        assert found[row].item() == pytest.approx(expected, rel=1e-5)


def test_it_is_what_average_drop_leaves_of_trimmed_binary_masks() -> None:
    images, maps, classes = torch.rand(4, 3, 6, 6), torch.rand(4, 3, 3), torch.tensor([0, 1, 0, 1])
    given = (brightness, images, maps, classes, plain(6, 6))
    drop = average_drop(*given, kept_share=0.3, mask="binary", ties="trimmed")
    assert torch.allclose(hard_mask_kept(*given, kept_share=0.3), 100 - drop)


def test_columns_say_what_is_kept_and_what_is_removed() -> None:
    protocol = Protocol("p", kept_shares=(0.5, 0.05), masked_in="normalised")
    batch = batch_of(IMAGE, ORDER, FIRST)
    for metric, word in ((HARD_MASK_KEPT, "kept"), (HARD_MASK_REMOVED, "removed")):
        columns = metric.columns(metric, protocol)
        assert [column.title for column in columns] == [
            f"Hard mask at 50 % {word}", f"Hard mask at 5 % {word}",
        ]  # fmt: skip
        values = metric.measure(batch, protocol)
        assert list(values) == [column.key for column in columns]
