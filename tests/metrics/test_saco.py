"""SaCo by hand, with loops over pairs, and of maps that are all right, all wrong or say nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.metrics.measured import brightness, grey
from ttame.metrics.pixel_ranking import most_relevant_first
from ttame.metrics.saco import saco, saco_of

FIRST = torch.tensor([0])


def slow_saco(image: Tensor, values: Tensor, groups: int, seed: int = 0) -> float:
    """Of one image (3, H, W) and one map (H, W), pair by pair."""
    order = most_relevant_first(values[None], seed)[0].tolist()
    size = len(order) // groups
    saliences, losses = [], []
    mean = image.flatten(1).mean(dim=1)
    for start in range(0, len(order), size):
        group = order[start : start + size]
        saliences.append(sum(float(values.flatten()[pixel]) for pixel in group))
        changed = image.flatten(1).clone()
        for pixel in group:
            changed[:, pixel] = mean
        before, after = (float(brightness(x.reshape(1, *image.shape))[0, 0] ** 1)
                         for x in (image, changed))  # fmt: skip
        losses.append(before - after)
    total = weights = 0.0
    for i in range(groups):
        for j in range(i + 1, groups):
            claim = saliences[i] - saliences[j]
            total += claim if losses[i] >= losses[j] else -claim
            weights += abs(claim)
    return total / weights


def test_three_groups_by_hand() -> None:
    # Claims 2, 3 and 1; the first pair and the second are wrong and right, the third right.
    found = saco_of(torch.tensor([[3.0, 1.0, 0.0]]), torch.tensor([[0.2, 0.5, 0.1]]))
    assert found.item() == pytest.approx((-2 + 3 + 1) / 6)
    # Equal losses agree with whatever is claimed, as published.
    assert saco_of(torch.tensor([[3.0, 1.0]]), torch.tensor([[0.2, 0.2]])).item() == 1


def test_four_pixels_by_hand() -> None:
    # Mean 0.5: the pixels lose 0.3, -0.1, -0.3 and 0.1 of 4; ranked second, first, fourth, third.
    image, maps = grey(0.8, 0.4, 0.2, 0.6), torch.tensor([[[3.0, 4.0, 0.0, 1.0]]])
    # Claims: 2-1: 1 wrong, 2-4: 3 wrong, 2-3: 4 right, 1-4: 2, 1-3: 3, 4-3: 1 right.
    expected = (-1 - 3 + 4 + 2 + 3 + 1) / 14
    assert saco(brightness, image, maps, FIRST, groups=4).item() == pytest.approx(expected)


@pytest.mark.parametrize("groups", [2, 5, 10])
def test_equals_the_loops(groups: int) -> None:
    images, maps = torch.rand(4, 3, 5, 8), torch.rand(4, 5, 8)
    found = saco(brightness, images, maps, torch.zeros(4).long(), groups=groups)
    for row in range(4):
        expected = slow_saco(images[row], maps[row], groups)
        assert found[row].item() == pytest.approx(expected, abs=1e-4)


def test_right_wrong_and_nothing() -> None:
    images = torch.rand(2, 3, 6, 5)
    grey_values, classes = images.mean(dim=1), torch.zeros(2).long()
    assert torch.equal(saco(brightness, images, grey_values, classes), torch.ones(2))
    assert torch.equal(saco(brightness, images, -grey_values, classes), -torch.ones(2))
    assert torch.equal(saco(brightness, images, torch.ones(2, 6, 5), classes), torch.zeros(2))


def test_the_unit_of_the_map_makes_no_difference() -> None:
    images, maps, classes = torch.rand(3, 3, 7, 5), torch.randn(3, 7, 5), torch.tensor([0, 1, 0])
    first = saco(brightness, images, maps, classes)
    assert torch.allclose(first, saco(brightness, images, 1000 * maps + 3, classes), atol=1e-4)
