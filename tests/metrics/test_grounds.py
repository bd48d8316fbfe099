"""What stands where pixels are not shown."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import Golden, assert_close
from ttame.metrics.grounds import blurred, ground_images


def test_blur_equals_the_published_one() -> None:
    golden = Golden("insertion_deletion")
    assert_close(blurred(golden["input.images"]), golden["output.blurred"], 2e-6)


def test_the_blur_is_flatter_than_a_gaussian_and_keeps_a_far_constant() -> None:
    images = torch.zeros(1, 1, 31, 31)
    images[..., 15, 15] = 1
    spread = blurred(images)
    assert spread.sum().item() == pytest.approx(1, abs=1e-5)
    assert spread[0, 0, 15, 15] < 0.012
    assert (spread > 0).sum() == 11 * 11
    assert blurred(torch.ones(1, 1, 31, 31))[0, 0, 15, 15].item() == pytest.approx(1, abs=1e-5)


def test_a_kernel_of_one_pixel_blurs_nothing() -> None:
    images = torch.rand(1, 3, 5, 4)
    assert torch.allclose(blurred(images, (1, 5.0)), images)


def test_the_grounds() -> None:
    images = torch.rand(2, 3, 40, 50)
    assert torch.equal(ground_images(images, "mean"), torch.zeros(2, 3, 40, 50))
    assert torch.equal(ground_images(images, "blur", blur=(3, 1.0)), blurred(images, (3, 1.0)))
    noise = ground_images(images, "noise")
    assert abs(float(noise.mean())) < 0.03 and abs(float(noise.std()) - 1) < 0.03
    assert not torch.equal(noise[0], noise[1])


def test_noise_belongs_to_the_image_and_the_seed() -> None:
    images = torch.rand(2, 3, 4, 5)
    both = ground_images(images, "noise", numbers=(7, 3))
    assert torch.equal(both[1:], ground_images(images[1:], "noise", numbers=(3,)))
    assert not torch.equal(both, ground_images(images, "noise", numbers=(7, 3), seed=1))
