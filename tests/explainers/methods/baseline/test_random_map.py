"""The random baseline: uniform, by seed and image, and by nothing else."""

from __future__ import annotations

import torch

from tests.tiny_networks import tiny_cnn
from ttame.explainers.methods.baseline.random_map import RandomMap


def test_values_are_uniform_and_independent_of_each_other() -> None:
    explainer = RandomMap(tiny_cnn())
    maps = explainer(torch.randn(200, 3, 32, 32)).maps
    assert maps.shape == (200, 1, 4, 4)
    assert maps.min() >= 0
    assert maps.max() < 1
    shares = torch.histc(maps, bins=4, min=0, max=1) / maps.numel()
    assert (shares - 0.25).abs().max() < 0.05
    assert torch.corrcoef(maps.flatten(1).T).fill_diagonal_(0).abs().max() < 0.35


def test_another_image_and_another_seed_give_another_map() -> None:
    images = torch.randn(2, 3, 32, 32)
    first = RandomMap(tiny_cnn(), seed=0)(images).maps
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(RandomMap(tiny_cnn(), seed=1)(images).maps, first)
    moved = RandomMap(tiny_cnn(), seed=0)(images.flip(0)).maps
    assert torch.equal(moved, first.flip(0)), "the place in the batch does not matter"


def test_all_classes_share_one_map_on_the_grid_of_the_last_tap() -> None:
    maps = RandomMap(tiny_cnn())(torch.randn(1, 3, 48, 64), "all").maps
    assert maps.shape == (1, 7, 6, 8)
    assert torch.equal(maps, maps[:, :1].expand_as(maps))


def test_the_global_generator_is_left_alone() -> None:
    explainer = RandomMap(tiny_cnn())
    images = torch.randn(1, 3, 32, 32)
    before = torch.get_rng_state()
    explainer(images)
    assert torch.equal(torch.get_rng_state(), before)
