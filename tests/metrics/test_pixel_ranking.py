"""Ranking pixels exactly."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import Golden
from ttame.metrics.pixel_ranking import most_relevant_first, ranks, removed_pixels


def test_values_decide_before_ties_do() -> None:
    values = torch.tensor([[[0.3, -1.0], [2.0, 0.5]], [[0.0, 1.0], [3.0, 2.0]]])
    assert most_relevant_first(values).tolist() == [[2, 3, 0, 1], [2, 3, 1, 0]]


def test_equal_values_follow_one_random_order_of_the_pixels() -> None:
    constant = most_relevant_first(torch.zeros(2, 8, 8))[0]
    assert constant.sort().values.tolist() == list(range(64))
    assert constant.tolist() != list(range(64))
    halves = torch.zeros(1, 8, 8)
    halves[:, 4:] = 1
    order = most_relevant_first(halves)[0]
    # Within the equal ones, the order is the constant map's.
    assert order[:32].tolist() == [pixel for pixel in constant.tolist() if pixel >= 32]
    assert order[32:].tolist() == [pixel for pixel in constant.tolist() if pixel < 32]


def test_ties_depend_on_the_seed_only() -> None:
    maps = torch.randint(0, 3, (3, 6, 5)).float()
    torch.manual_seed(123)
    together = most_relevant_first(maps, seed=4)
    singles = torch.cat([most_relevant_first(single[None], seed=4) for single in maps])
    assert torch.equal(together, singles)
    assert not torch.equal(together, most_relevant_first(maps, seed=5))


def test_ranking_draws_nothing_from_the_global_generator() -> None:
    state = torch.get_rng_state()
    most_relevant_first(torch.zeros(1, 7, 3), seed=99)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("share", [0.0, 0.1, 0.15, 0.5, 0.7, 0.9, 1.0])
def test_removes_exactly_the_share_of_a_map_that_is_mostly_zero(share: float) -> None:
    maps = torch.relu(torch.randn(4, 10, 11) - 0.5)
    order = most_relevant_first(maps)
    for first in (order, order.flip(1)):
        removed = removed_pixels(first, share, (10, 11))
        assert removed.flatten(1).sum(dim=1).tolist() == [round(share * 110)] * 4


def test_half_a_pixel_goes_to_the_even_count() -> None:
    order = most_relevant_first(torch.randn(1, 2, 5))
    assert [int(removed_pixels(order, share, (2, 5)).sum()) for share in (0.25, 0.75)] == [2, 8]


def test_least_relevant_first_is_the_complement() -> None:
    order = most_relevant_first(torch.randint(0, 4, (3, 10, 10)).float())
    most = removed_pixels(order, 0.3, (10, 10))
    least = removed_pixels(order.flip(1), 0.7, (10, 10))
    assert torch.equal(most, ~least)


def test_removed_pixels_lie_where_the_map_is_high() -> None:
    maps = torch.randn(1, 3, 4)
    removed = removed_pixels(most_relevant_first(maps), 0.25, (3, 4))
    assert maps[removed].min() > maps[~removed].max()


def test_ranks_are_the_places_in_the_order() -> None:
    order = most_relevant_first(torch.randn(2, 5, 4))
    places = ranks(order)
    for row in range(2):
        for place, pixel in enumerate(order[row].tolist()):
            assert places[row, pixel] == place


def test_agrees_with_published_masks_where_no_values_are_equal() -> None:
    golden = Golden("road")
    saliency = golden["input.saliency"]
    order = most_relevant_first(saliency)
    for index, percent in enumerate(golden.number("removed_percent")):
        for name, first in (("most", order), ("least", order.flip(1))):
            ours = removed_pixels(first, percent / 100, (64, 64))
            published = golden[f"output.saliency.keep_{name}"][index] == 0
            # The published threshold lies between two values: it may take one pixel more.
            assert (ours != published).flatten(1).sum(dim=1).max() <= 1


def test_removes_what_was_asked_where_the_published_threshold_does_not() -> None:
    golden = Golden("road")
    order = most_relevant_first(golden["input.saliency_ties"][None])
    published = golden["output.saliency_ties.keep_most_50"] == 0
    ours = removed_pixels(order, 0.5, (64, 64))[0]
    assert ours.sum() == 2048
    assert published.sum() > 2048
    assert bool(published[ours].all())
