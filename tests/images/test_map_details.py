"""Maps with fewer details, against a slow blur."""

from __future__ import annotations

import math

import pytest
import torch

from tests.explainers.slow_masks import SHAPES, close, random_maps
from ttame.images.map_details import blurred, with_details


def gaussian_weight(distance: float, shorter: int) -> float:
    """Of a place, before weights add up to 1; a seventh of the shorter side is one σ."""
    return math.exp(-((7 * distance / shorter) ** 2) / 2)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("shape", [*SHAPES, (1, 1)], ids=str)
def test_details_are_what_a_slow_blur_takes_away(shape: tuple[int, int], share: float) -> None:
    rows, columns = shape
    maps = random_maps(rows, columns).reshape(2, 2, rows, columns)
    found = with_details(maps, share)
    assert found.shape == maps.shape and found.dtype == maps.dtype
    for one, result in zip(maps.flatten(0, 1), found.flatten(0, 1), strict=True):
        for y in range(rows):
            for x in range(columns):
                weights = {
                    (row, column): gaussian_weight(row - y, min(shape))
                    * gaussian_weight(column - x, min(shape))
                    for row in range(rows)
                    for column in range(columns)
                }
                broad = sum(weight * float(one[place]) for place, weight in weights.items())
                broad /= sum(weights.values())
                close(result[y, x], broad + share * (float(one[y, x]) - broad), 1e-9)


def test_a_wide_picture_is_blurred_by_as_many_pixels_down_as_across() -> None:
    """One cell a pixel: a seventh of the shorter side, where what is in the middle is far away."""
    maps = torch.zeros(1, 1, 28, 84, dtype=torch.float64)
    maps[0, 0, 14, 42] = 1
    found = with_details(maps, 0, (28, 84))[0, 0]
    for step in (1, 3, 6):
        expected = math.exp(-((step / 4) ** 2) / 2)
        assert float(found[14, 42 + step] / found[14, 42]) == pytest.approx(expected, rel=1e-9)
    # Cells of another shape, the same picture: the blur follows pixels.
    coarse = with_details(maps[..., ::3], 0, (28, 84))[0, 0]
    assert float(coarse[14, 15] / coarse[14, 14]) == pytest.approx(math.exp(-((3 / 4) ** 2) / 2))
    down, up = with_details(maps.mT, 0, (84, 28))[0, 0], found.T
    close(down, up, 1e-12)


def test_all_details_are_the_map_itself() -> None:
    maps = random_maps(3, 4)
    assert with_details(maps, 1) is maps and with_details(maps, 1.0) is maps


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_constant_map_has_no_details(share: float) -> None:
    maps = torch.full((1, 2, 14, 9), -3.25, dtype=torch.float64)
    close(with_details(maps, share), maps, 1e-12)


def test_the_grid_does_not_decide_how_broad_a_shape_is() -> None:
    """The same hill on a grid twice as fine loses the same."""

    def peak_of(side: int) -> float:
        places = (torch.arange(side, dtype=torch.float64) + 0.5) / side - 0.5
        hill = (-(places / 0.1).square() / 2).exp()
        return float(with_details((hill[:, None] * hill)[None, None], 0).amax())

    assert peak_of(56) == pytest.approx(peak_of(28), rel=0.01)
    # Two Gaussians after another are one of the sum of their variances, in each direction.
    assert peak_of(56) == pytest.approx(0.1**2 / (0.1**2 + (1 / 7) ** 2), rel=0.01)


def test_half_precision_and_gradients_pass_through_the_blur() -> None:
    maps = random_maps(7, 7)
    found = with_details(maps.to(torch.bfloat16), 0.5)
    assert found.dtype == torch.bfloat16
    assert float((found.double() - with_details(maps, 0.5)).abs().max()) < 0.05 * maps.abs().max()
    torch.autograd.gradcheck(lambda maps: with_details(maps, 0.3), [maps.requires_grad_()])


@pytest.mark.parametrize("deviation", [0.3, 1.0, 2.5])
def test_a_blur_in_places_is_a_slow_sum_of_neighbours(deviation: float) -> None:
    maps = random_maps(2, 5).reshape(2, 2, 2, 5)
    found = blurred(maps, deviation)

    def weight(distance: int, side: int) -> float:
        total = sum(math.exp(-((step / deviation) ** 2) / 2) for step in range(-side, side + 1))
        return math.exp(-((distance / deviation) ** 2) / 2) / total

    for one, result in zip(maps.flatten(0, 1), found.flatten(0, 1), strict=True):
        for y, x in ((0, 0), (1, 3)):
            slow = sum(
                float(one[row, column]) * weight(row - y, 2) * weight(column - x, 5)
                for row in range(2)
                for column in range(5)
            )
            close(result[y, x], slow, 1e-9)


def test_zeros_behind_a_row_do_not_change_its_blur() -> None:
    row = random_maps(1, 12).reshape(4, 1, 1, 12)
    longer = torch.cat([row, torch.zeros(4, 1, 1, 20, dtype=row.dtype)], dim=3)
    close(blurred(longer, 1.5)[..., :12], blurred(row, 1.5), 1e-9)
