"""Maps with less detail and a given mean, against slow scalar ones and closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from tests.explainers.slow_masks import SHAPES, close, random_maps, slow_exponent
from ttame.explainers.attention.map_scale import exponents_for_means, scaled_maps, with_details
from ttame.saliency_maps import to_unit_range
from ttame.training.masks_with_means import raised_to_means

# The scale of explanations


def test_every_map_is_scaled_by_itself() -> None:
    maps = random_maps(3, 5).reshape(2, 2, 3, 5)
    exponent = torch.tensor(0.7, dtype=torch.float64)
    found = scaled_maps(maps, "min-max", exponent)
    for image in range(2):
        for number in range(2):
            values = maps[image, number].flatten().tolist()
            low, high = min(values), max(values)
            slow = [((value - low) / (high - low)) ** 0.7 for value in values]
            close(found[image, number].flatten(), slow, 1e-12)
    assert found.amin() == 0
    assert found.amax() == 1
    assert torch.equal(scaled_maps(maps * 4 - 8, "min-max", exponent).argsort(), found.argsort())


def test_other_scales_take_no_exponent() -> None:
    maps = random_maps(3, 5)
    assert torch.equal(scaled_maps(maps, "raw"), maps)
    close(scaled_maps(maps, "sigmoid"), 1 / (1 + (-maps).exp()))
    assert torch.equal(scaled_maps(maps, "sigmoid", torch.tensor(3.0)), maps.sigmoid())


@pytest.mark.parametrize("value", [0.0, -3.0, 1e4])
def test_a_constant_map_is_zero_and_stays_finite(value: float) -> None:
    maps = torch.full((2, 1, 3, 4), value)
    assert torch.equal(to_unit_range(maps), torch.zeros_like(maps))
    assert torch.equal(scaled_maps(maps, "min-max", torch.tensor(0.01)), torch.zeros_like(maps))


# Details


def gaussian_weight(distance: float, side: int) -> float:
    """Of a place, before the weights are made to add up to 1; a seventh of the side is one σ."""
    return math.exp(-((7 * distance / side) ** 2) / 2)


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
                    (row, column): gaussian_weight(row - y, rows)
                    * gaussian_weight(column - x, columns)
                    for row in range(rows)
                    for column in range(columns)
                }
                broad = sum(weight * float(one[place]) for place, weight in weights.items())
                broad /= sum(weights.values())
                close(result[y, x], broad + share * (float(one[y, x]) - broad), 1e-9)


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


# Exponents


def test_exponents_equal_a_slow_search() -> None:
    maps = torch.rand(4, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    means = torch.tensor([0.05, 0.3, 0.6, 0.95], dtype=torch.float64)
    maps[:, 1] = 1.0
    means[0] = 0.12  # The place that is 1 stays 1: no mean below 1/11.
    found = exponents_for_means(maps, means)
    slow = [slow_exponent(row.tolist(), float(mean)) for row, mean in zip(maps, means, strict=True)]
    close(found, slow)
    reached = [
        sum(max(value, 1e-4) ** exponent for value in row.tolist()) / 11
        for row, exponent in zip(maps, found.tolist(), strict=True)
    ]
    close(torch.tensor(reached), means)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("value", [0.01, 0.3, 0.9])
def test_two_valued_maps_have_a_closed_form(share: float, value: float) -> None:
    """``a + (1 − a)·v^g = s``."""
    maps = torch.full((1, 20), value, dtype=torch.float64)
    maps[0, : round(20 * share)] = 1
    mean = share + 0.6 * (1 - share)
    (found,) = exponents_for_means(maps, torch.tensor([mean], dtype=torch.float64)).tolist()
    assert found == pytest.approx(math.log(0.6) / math.log(value), rel=1e-6)
    mask = raised_to_means(maps.reshape(1, 1, 4, 5), torch.tensor([mean], dtype=torch.float64))
    close(mask.unique(), [0.6, 1.0])


@pytest.mark.parametrize(
    ("value", "mean", "expected"), [(1.0, 0.5, 1000), (0.0, 0.9999, 1e-3), (0.999, 1e-6, 1000)]
)
def test_a_mean_that_no_power_gives_has_the_nearest_exponent(
    value: float, mean: float, expected: float
) -> None:
    (found,) = exponents_for_means(torch.full((1, 6), value), torch.tensor([mean])).tolist()
    assert found == pytest.approx(expected, rel=0.1)


def test_several_maps_together_share_their_exponent() -> None:
    bright, dark = torch.full((1, 5), 0.9), torch.full((1, 5), 0.2)
    together = torch.cat([bright, dark], dim=1)
    exponent = exponents_for_means(together, torch.tensor([0.4]))
    assert float((together**exponent).mean()) == pytest.approx(0.4, abs=1e-5)
    assert float((bright**exponent).mean()) > 0.6
    assert float((dark**exponent).mean()) < 0.2


def test_the_search_leaves_no_graph() -> None:
    maps = torch.rand(1, 5, requires_grad=True)
    assert not exponents_for_means(maps, torch.tensor([0.4])).requires_grad
