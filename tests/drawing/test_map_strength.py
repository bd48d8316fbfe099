"""How strongly maps of several classes are drawn, against numbers by hand."""

from __future__ import annotations

import pytest
import torch

from ttame.drawing.map_strength import compared_with, contrasts, drawn_maps
from ttame.errors import ClassSelectionError, UnknownNameError

MAPS = torch.tensor([[[0.0, 8.0]], [[10.0, 6.0]], [[2.0, 7.0]]])
PROBABILITIES = torch.tensor([0.1, 0.6, 0.3])


def test_own_scales_hide_how_large_maps_are() -> None:
    drawn = drawn_maps(MAPS * torch.tensor([1.0, 100.0, 1e-3]).reshape(3, 1, 1), PROBABILITIES)
    assert drawn.heatmaps.tolist() == [[[0.0, 1.0]], [[1.0, 0.0]], [[0.0, 1.0]]]
    assert drawn.shares == (1.0, 1.0, 1.0)


def test_maps_fade_with_the_probability_of_their_class() -> None:
    drawn = drawn_maps(MAPS, PROBABILITIES, "probability")
    assert torch.equal(drawn.heatmaps, drawn_maps(MAPS, PROBABILITIES).heatmaps)
    assert drawn.shares == pytest.approx((1 / 6, 1.0, 0.5))


def test_a_contrast_is_what_is_above_the_most_probable_class_on_one_scale() -> None:
    # Differences in units of the range 10: 0.2 above the second class at the right of the first,
    # 0.8 at the left of the second above the third (its rival), 0.1 at the right of the third.
    expected = torch.tensor([[[0.0, 0.25]], [[1.0, 0.0]], [[0.0, 0.125]]])
    assert torch.allclose(contrasts(MAPS, PROBABILITIES), expected)
    assert compared_with(PROBABILITIES) == [1, 2, 1]
    shifted = contrasts(5 * MAPS - 3, PROBABILITIES)
    assert torch.allclose(shifted, expected, atol=1e-6)


def test_small_differences_are_not_blown_up() -> None:
    alike = torch.stack([torch.eye(2), torch.eye(2)])
    alike[1, 0, 1] = 0.05
    assert float(contrasts(alike, torch.tensor([0.9, 0.1])).max()) == pytest.approx(0.2)
    flat = torch.full((2, 3, 3), 7.0)
    assert float(contrasts(flat, torch.tensor([0.9, 0.1])).max()) == 0


def test_maps_of_pixels_are_compared_as_they_are_drawn() -> None:
    maps = torch.zeros(2, 4, 4)
    maps[0, 0, 0], maps[1, 3, 3] = 1.0, 1e-3
    drawn = contrasts(maps, torch.tensor([0.5, 0.5]), of_pixels=True)
    assert drawn[0, 0, 0] == drawn[1, 3, 3] == 1.0 and float(drawn.sum()) == 2.0


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ClassSelectionError, match="a contrast of a single class"):
        contrasts(MAPS[:1], PROBABILITIES[:1])
    with pytest.raises(UnknownNameError, match="strength 'loud'"):
        drawn_maps(MAPS, PROBABILITIES, "loud")  # type: ignore[arg-type]
