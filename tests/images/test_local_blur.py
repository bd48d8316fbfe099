"""Blur that differs from place to place, against sums written out."""

from __future__ import annotations

import math

import pytest
import torch

from tests.conftest import assert_close
from ttame.images.local_blur import blur_levels, blurred_by_masks, gaussian_blurred


@pytest.mark.parametrize("sigma", [0.6, 1.4])
def test_the_blur_is_a_gaussian_mean_with_repeated_edges(sigma: float) -> None:
    image = torch.rand(1, 2, 5, 7, generator=torch.Generator().manual_seed(0))
    blurred = gaussian_blurred(image, sigma)
    reach = math.ceil(3 * sigma)
    for row, column in ((0, 0), (2, 3), (4, 6)):
        total = weights = 0.0
        for down in range(-reach, reach + 1):
            for right in range(-reach, reach + 1):
                weight = math.exp(-(down**2 + right**2) / (2 * sigma**2))
                y, x = min(max(row + down, 0), 4), min(max(column + right, 0), 6)
                total, weights = total + weight * float(image[0, 1, y, x]), weights + weight
        assert float(blurred[0, 1, row, column]) == pytest.approx(total / weights, abs=1e-5)


def test_levels_go_from_sharp_to_the_largest_blur() -> None:
    images = torch.rand(2, 3, 8, 8)
    levels = blur_levels(images, 2.0, levels=5)
    assert levels.shape == (5, 2, 3, 8, 8)
    assert torch.equal(levels[0], images)
    assert_close(levels[2], gaussian_blurred(images, 1.0), 1e-6)
    spreads = [float(level.std()) for level in levels]
    assert spreads == sorted(spreads, reverse=True)


def test_each_pixel_has_the_blur_of_its_mask() -> None:
    images = torch.rand(1, 1, 6, 6)
    levels = blur_levels(images, 2.0, levels=3)
    masks = torch.ones(1, 1, 6, 6)
    masks[..., 3:, :], masks[..., 5, 5] = 0.0, 0.75
    seen = blurred_by_masks(levels, masks)
    assert torch.equal(seen[..., :3, :], images[..., :3, :])
    assert_close(seen[..., 3:5, :], levels[2][..., 3:5, :], 1e-6)
    between = (levels[0] + levels[1])[..., 5, 5] / 2
    assert_close(seen[..., 5, 5], between, 1e-6)


def test_masks_have_gradients() -> None:
    levels = torch.stack([torch.full((1, 1, 2, 2), 1.0), torch.full((1, 1, 2, 2), 5.0)])
    masks = torch.full((1, 1, 2, 2), 0.5, requires_grad=True)
    blurred_by_masks(levels, masks).sum().backward()
    assert masks.grad is not None and masks.grad.unique().tolist() == [-4.0]
