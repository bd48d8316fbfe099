"""Extremal perturbations: the formula of smooth masks, the area, and a square that is known."""

from __future__ import annotations

import math

import pytest
import torch

from tests.explainers.methods.perturbation.planted_square import planted
from ttame.errors import ExplainerError
from ttame.explainers.methods.perturbation.extremal_perturbation import (
    ExtremalPerturbation,
    smooth_masks,
)
from ttame.images.saliency_maps import resize_maps
from ttame.testing import tiny_classifier


def test_a_smooth_mask_is_the_soft_maximum_of_what_is_near() -> None:
    values = torch.rand(1, 1, 4, 6, generator=torch.Generator().manual_seed(0))
    masks = smooth_masks(values)
    for row, column in ((0, 0), (2, 3), (3, 5)):
        near = []
        for down in range(-5, 6):
            for right in range(-5, 6):
                y, x = row + down, column + right
                kernel = math.exp(-(max(0.0, math.hypot(down, right) - 1) ** 2) / 4)
                inside = 0 <= y < 4 and 0 <= x < 6
                near.append(kernel * float(values[0, 0, y, x]) if inside else 0.0)
        weights = [math.exp(value * 20) for value in near]
        expected = sum(v * w for v, w in zip(near, weights, strict=True)) / sum(weights)
        assert float(masks[0, 0, row, column]) == pytest.approx(expected, abs=1e-5)


def test_the_mask_has_its_area_and_finds_what_the_class_looks_at() -> None:
    classifier, images, square = planted()
    explain = ExtremalPerturbation(classifier, areas=(0.15,), steps=60, cell=2)
    maps = explain(images, [[0, 1], [0, 1]]).maps
    assert maps.shape == (2, 2, 16, 16)
    assert float(maps.min()) >= 0 and float(maps.max()) <= 1
    assert 0.1 < float(maps[:, 0].mean()) < 0.25
    on_pixels = resize_maps(maps, (32, 32))
    for of_image in on_pixels:
        inside, outside = of_image[0][square].mean(), of_image[0][~square].mean()
        assert inside > 0.7 and outside < 0.2
        # The other class is decided in the lower left.
        assert of_image[1][18:, :12].mean() > 0.5 > 0.2 > of_image[1][square].mean()


def test_several_areas_are_averaged() -> None:
    classifier, images, _ = planted()
    alone = [
        ExtremalPerturbation(classifier, areas=(area,), steps=3, cell=4)(images[:1], 0).maps
        for area in (0.1, 0.3)
    ]
    both = ExtremalPerturbation(classifier, areas=(0.1, 0.3), steps=3, cell=4)(images[:1], 0).maps
    assert torch.allclose(both, (alone[0] + alone[1]) / 2, atol=1e-6)


def test_progress_counts_every_step() -> None:
    explain = ExtremalPerturbation(tiny_classifier(), areas=(0.1, 0.2), steps=2)
    told: list[tuple[int, int]] = []
    explain(torch.rand(3, 3, 16, 16), "top2", progress=lambda *done: told.append(done))
    assert told[-1] == (24, 24) and [done for done, _ in told] == sorted(d for d, _ in told)


@pytest.mark.parametrize(
    "options",
    [{"areas": ()}, {"areas": (1.0,)}, {"areas": "x"}, {"steps": 0}, {"rate": 0.0}, {"cell": 1.5}],
)
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ExplainerError, match=f"{next(iter(options))}=.*extremal_perturbation"):
        ExtremalPerturbation(tiny_classifier(), **options)  # type: ignore[arg-type]
