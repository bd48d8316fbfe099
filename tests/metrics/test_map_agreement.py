"""Maps that go along with a shift, maps that do not, and a correlation worked out slowly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ttame.images.moved_images import Move, moved
from ttame.metrics.image_generator import image_generator
from ttame.metrics.map_agreement import agreement_under_noise, agreement_under_shifts

CLASSES = torch.tensor([0, 1])


def picture(images: Tensor, classes: Tensor) -> Tensor:
    return images.mean(dim=1)


def fixed(images: Tensor, classes: Tensor) -> Tensor:
    torch_generator = torch.Generator().manual_seed(2)
    return torch.rand(*images.shape[2:], generator=torch_generator).expand(len(images), -1, -1)


def coarse(images: Tensor, classes: Tensor) -> Tensor:
    return torch.nn.functional.avg_pool2d(images.mean(dim=1), 8)


def test_shifts_repeat_the_border() -> None:
    image = torch.tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]]])
    assert moved(image, Move(down=1, right=1))[0, 0].tolist() == [[1, 1, 2], [1, 1, 2], [4, 4, 5]]
    assert moved(image, Move(down=-1, right=-1))[0, 0].tolist() == [[5, 6, 6], [8, 9, 9], [8, 9, 9]]


def test_a_map_that_goes_along_agrees_and_a_fixed_one_does_not() -> None:
    images = torch.rand(2, 3, 56, 60)
    agreed = agreement_under_shifts(picture, images, picture(images, CLASSES), CLASSES)
    assert torch.allclose(agreed, torch.ones(2))
    still = agreement_under_shifts(fixed, images, fixed(images, CLASSES), CLASSES)
    assert (still.abs() < 0.1).all()


def test_shifts_equal_the_loops() -> None:
    images = torch.rand(2, 3, 56, 64)  # by two pixels
    maps = coarse(images, CLASSES)
    found = agreement_under_shifts(coarse, images, maps, CLASSES)

    def large(values: Tensor) -> np.ndarray:
        resized = torch.nn.functional.interpolate(
            values[:, None], (56, 64), mode="bilinear", align_corners=False
        )
        return resized[:, 0].numpy()

    before = large(maps)
    for row in range(2):
        correlations = []
        for shift in (2, -2):
            moved = np.empty((1, 3, 56, 64), dtype=np.float32)
            for y in range(56):
                for x in range(64):
                    origin = min(max(y - shift, 0), 55), min(max(x - shift, 0), 63)
                    moved[0, :, y, x] = images[row, :, origin[0], origin[1]].numpy()
            after = large(coarse(torch.from_numpy(moved), CLASSES))[0]
            pairs = [
                (before[row, y, x], after[y + shift, x + shift])
                for y in range(56)
                for x in range(64)
                if 0 <= y + shift < 56 and 0 <= x + shift < 64
            ]
            correlations.append(np.corrcoef(np.array(pairs).T)[0, 1])
        assert found[row].item() == pytest.approx(np.mean(correlations), abs=1e-4)


def test_noise_equals_numpy() -> None:
    images = torch.rand(2, 3, 16, 16)
    maps = coarse(images, CLASSES)
    found = agreement_under_noise(
        coarse, images, maps, CLASSES, noise=0.5, samples=3, seed=1, numbers=[4, 9]
    )
    for row, number in enumerate([4, 9]):
        generator = image_generator(1, number, "agreement noise")
        expected = []
        for _ in range(3):
            noisy = images[row] + 0.5 * torch.randn(3, 16, 16, generator=generator)
            other = coarse(noisy[None], CLASSES)[0]
            expected.append(np.corrcoef(maps[row].flatten(), other.flatten())[0, 1])
        assert found[row].item() == pytest.approx(np.mean(expected), abs=1e-5)


def test_what_ignores_the_picture_agrees_and_what_is_constant_does_not() -> None:
    images = torch.rand(2, 3, 9, 9)
    still = agreement_under_noise(fixed, images, fixed(images, CLASSES), CLASSES)
    assert torch.allclose(still, torch.ones(2))

    def blank(images: Tensor, classes: Tensor) -> Tensor:
        return torch.ones(len(images), 3, 3)

    for agreement in (agreement_under_noise, agreement_under_shifts):
        assert agreement(blank, images, blank(images, CLASSES), CLASSES).tolist() == [0, 0]
