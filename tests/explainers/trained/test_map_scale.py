"""Maps of a given scale and mean, against slow scalar ones and closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from tests.explainers.slow_masks import close, random_maps, slow_exponent
from ttame.explainers.trained.map_scale import exponents_for_means, scaled_maps
from ttame.images.saliency_maps import to_unit_range
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


def test_standard_maps_are_sigmoids_of_deviations_from_the_mean_of_their_places() -> None:
    maps = 30 * random_maps(1, 6).reshape(2, 2, 1, 6)
    places = torch.tensor([[1, 1, 1, 1, 1, 1], [0, 1, 1, 1, 0, 0]]).bool()[:, None, None]
    found = scaled_maps(maps, "standard", places=places)
    for image in range(2):
        for number in range(2):
            own = maps[image, number][places[image, 0]].tolist()
            mean = sum(own) / len(own)
            deviation = math.sqrt(sum((value - mean) ** 2 for value in own) / len(own))
            values = maps[image, number].flatten().tolist()
            slow = [1 / (1 + math.exp(-(value - mean) / deviation)) for value in values]
            close(found[image, number].flatten(), slow, 1e-9)
    close(scaled_maps(maps[:1] * 1e3 + 5, "standard"), found[:1], 1e-9)
    assert torch.equal(
        scaled_maps(torch.full((1, 1, 2, 2), 4.0), "standard"), torch.full((1, 1, 2, 2), 0.5)
    )


@pytest.mark.parametrize("value", [0.0, -3.0, 1e4])
def test_a_constant_map_is_zero_and_stays_finite(value: float) -> None:
    maps = torch.full((2, 1, 3, 4), value)
    assert torch.equal(to_unit_range(maps), torch.zeros_like(maps))
    assert torch.equal(scaled_maps(maps, "min-max", torch.tensor(0.01)), torch.zeros_like(maps))


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
