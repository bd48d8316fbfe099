"""Meaningful perturbations: the cost by hand, and a square that has to be deleted."""

from __future__ import annotations

import pytest
import torch

from tests.explainers.methods.perturbation.planted_square import planted
from ttame.classifiers.explained_targets import ExplainedClasses
from ttame.errors import ExplainerError
from ttame.explainers.methods.perturbation.meaningful_perturbation import (
    MeaningfulPerturbation,
    deletion_cost,
    first_circles,
)
from ttame.explainers.methods.perturbation.optimised_masks import MaskedViews
from ttame.images.local_blur import blur_levels
from ttame.images.saliency_maps import resize_maps
from ttame.testing import tiny_classifier


def test_the_cost_is_the_sum_over_places() -> None:
    mask = torch.rand(2, 1, 3, 4, generator=torch.Generator().manual_seed(0))
    expected = []
    for values in mask[:, 0].tolist():
        hidden = sum(1 - value for row in values for value in row)
        edges = sum(
            abs(values[y + 1][x] - values[y][x]) ** 3 for y in range(2) for x in range(4)
        ) + sum(abs(values[y][x + 1] - values[y][x]) ** 3 for y in range(3) for x in range(3))
        expected.append((0.5 * hidden + 2 * edges) * 784 / 12)
    assert deletion_cost(mask, 0.5, 2.0, 3.0).tolist() == pytest.approx(expected, rel=1e-5)


def test_what_has_to_be_deleted_is_what_the_class_looks_at() -> None:
    classifier, images, square = planted()
    explain = MeaningfulPerturbation(classifier, steps=60, cell=2, area_weight=5e-4)
    maps = resize_maps(explain(images, 0).maps, (32, 32))[:, 0]
    assert float(maps.min()) >= -1e-6 and float(maps.max()) <= 1 + 1e-6
    for found in maps:
        assert found[square].mean() > 3 * found[~square].mean()
    # Nothing is deleted where that costs more than it is worth.
    dear = MeaningfulPerturbation(classifier, steps=20, cell=2, area_weight=10.0)
    assert float(dear(images, 0).maps.abs().max()) < 1e-3


def test_the_start_is_the_smallest_circle_that_is_enough() -> None:
    """The square lies off the middle: a circle has to reach its far corner, not the edges."""
    classifier, images, square = planted()
    levels = blur_levels(images, 3.0)
    targets = ExplainedClasses(torch.zeros(2, 1, dtype=torch.long))
    views = MaskedViews(classifier, levels, targets, "logit", told=lambda: None)
    circles = first_circles(views, 1)[:, 0]
    assert circles.unique().tolist() == [0, 1]
    for circle in circles:
        assert float(circle[square].mean()) < 0.2
        assert float(circle.mean()) > 0.2
        assert torch.equal(circle, circle.flip(0)) and torch.equal(circle, circle.flip(1))


def test_the_seed_decides_the_shifts() -> None:
    classifier, images, _ = planted()
    maps = [
        MeaningfulPerturbation(classifier, steps=6, cell=4, jitter=30.0, seed=seed)(images, 0).maps
        for seed in (0, 0, 1)
    ]
    assert torch.equal(maps[0], maps[1]) and not torch.equal(maps[0], maps[2])


@pytest.mark.parametrize("options", [{"steps": 0}, {"power": 0.5}, {"rate": 0.0}, {"score": "x"}])
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ExplainerError, match=f"{next(iter(options))}=.*meaningful_perturbation"):
        MeaningfulPerturbation(tiny_classifier(), **options)  # type: ignore[arg-type]
