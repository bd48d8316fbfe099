from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.conftest import Golden, assert_close
from tests.explainers.methods.perturbation_material import golden_classifier, noise_images
from tests.tiny_networks import TINY, tiny_cnn
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.explained_targets import ExplainedClasses
from ttame.errors import ExplainerError
from ttame.explainers.methods.perturbation.rise import RandomMasks, Rise, rise_maps
from ttame.images.preprocessing import Preprocessing


@pytest.mark.parametrize("chunk", [1, 5, 12])
def test_golden_tensors(chunk: int) -> None:
    golden = Golden("insertion_deletion")
    classifier = golden_classifier(golden)
    maps = rise_maps(
        classifier,
        golden["input.images"][:1],
        ExplainedClasses(torch.arange(10)[None]),
        golden["input.rise_masks"].split(chunk),
        keep_probability=golden.number("rise_p1"),
    )
    assert_close(maps[0], golden["output.rise_saliency"], 2e-5)


@pytest.mark.parametrize("network", ["cnn", "transformers vit"])
def test_it_is_the_formula(network: str) -> None:
    classifier = TINY[network]()
    images = noise_images(classifier)
    maps = Rise(classifier, masks=9, cells=3, keep_probability=0.4, seed=5)(images, "all").maps
    masks = RandomMasks(9, 3, 0.4, images.shape[2:], 5)[0:9]
    for image, ours in zip(images, maps, strict=True):
        total = torch.zeros_like(ours)
        for mask in masks:
            probabilities = classifier.probabilities((image * mask)[None])[0].detach()
            total += probabilities[:, None, None] * mask
        assert_close(ours, total / (9 * 0.4), 1e-5)


def test_masks_are_smooth_grids_at_random_places() -> None:
    size, cells = (30, 52), 4
    masks = RandomMasks(400, cells, 0.3, size, seed=1)
    assert masks.cell == (8, 13) and masks.grids.shape == (400, 1, 4, 4)
    assert set(masks.grids.unique().tolist()) == {0.0, 1.0}
    tops, lefts = (sorted({offset[axis] for offset in masks.offsets}) for axis in (0, 1))
    assert tops == list(range(8)) and lefts == list(range(13))
    some = masks[7:9]
    for mask, grid, (top, left) in zip(some, masks.grids[7:9], masks.offsets[7:9], strict=True):
        whole = F.interpolate(grid[None], size=(5 * 8, 5 * 13), mode="bilinear")[0]
        assert torch.equal(mask, whole[:, top : top + 30, left : left + 52])
    everything = masks[0:400]
    assert everything.shape == (400, 1, 30, 52)
    assert everything.min() >= 0 and everything.max() <= 1 + 1e-6
    assert float(everything.mean()) == pytest.approx(0.3, abs=0.02)
    # Every place is kept equally often, near enough.
    assert float(everything.mean(dim=0).std()) < 0.04
    assert not torch.equal(everything, RandomMasks(400, cells, 0.3, size, seed=2)[0:400])


def test_odd_sizes_are_covered() -> None:
    for length in (7, 8, 9, 50):
        masks = RandomMasks(50, 8, 0.5, (length, 20), seed=0)
        assert masks[0:50].shape == (50, 1, length, 20)
        assert masks.cell[0] == math.ceil(length / 8)


class BrightSpot(nn.Module):
    """Is the pixel at (20, 6) bright?"""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 8, 1)
        self.pool = nn.AvgPool2d(2)
        self.again = nn.Conv2d(8, 8, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        # A classifier must have a layer that its scores depend on.
        nothing = 0 * self.again(self.pool(self.layer(images))).mean(dim=(1, 2, 3))
        spot = images[:, :, 20, 6].mean(dim=1)
        return torch.stack([4 * spot - 2 + nothing, torch.zeros_like(spot)], dim=1)


def test_it_finds_the_place_that_matters() -> None:
    preprocessing = Preprocessing.imagenet(32)
    classifier = Classifier(BrightSpot(), preprocessing=preprocessing, taps=["pool"])
    maps = Rise(classifier, masks=400, cells=6)(torch.ones(1, 3, 32, 32), 0).maps[0, 0]
    row, column = divmod(int(maps.argmax()), 32)
    assert abs(row - 20) <= 2 and abs(column - 6) <= 2


def test_what_is_removed_looks_as_asked() -> None:
    classifier = tiny_cnn()
    seen: list[torch.Tensor] = []
    images = noise_images(classifier, count=1)
    for space in ("normalised", "raw"):
        explainer = Rise(classifier, masks=6, cells=2, space=space)  # type: ignore[arg-type]
        handle = classifier.network.register_forward_pre_hook(
            lambda _module, args: seen.append(args[0].clone())
        )
        explainer(images)
        handle.remove()
        mask = RandomMasks(6, 2, 0.5, (32, 32), 0)[0:6]
        expected: Any = images * mask
        if space == "raw":
            black = (-torch.tensor([0.485, 0.456, 0.406]) / torch.tensor([0.229, 0.224, 0.225]))[
                :, None, None
            ]
            expected = images * mask + black * (1 - mask)
        assert_close(seen[-1], expected, 1e-6)


def test_progress_counts_masks() -> None:
    explainer = Rise(tiny_cnn(), masks=20, cells=4)
    steps: list[tuple[int, int]] = []
    images = noise_images(explainer.classifier)
    explainer(images, progress=lambda done, total: steps.append((done, total)))
    assert steps[-1] == (20, 20) and len(steps) > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masks": 0}, "masks 0.*at least 1"),
        ({"cells": 0}, "cells 0.*at least 1"),
        ({"keep_probability": 0.0}, "keep_probability 0.0.*between 0 and 1"),
        ({"keep_probability": 1.0}, "keep_probability 1.0.*between 0 and 1"),
        ({"space": "black"}, "space='black'.*'raw' or 'normalised'"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ExplainerError, match=message):
        Rise(tiny_cnn(), **options)
