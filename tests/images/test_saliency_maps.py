"""Rescaling, resizing and thresholding, by hand and against golden tensors."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import Golden, assert_close
from ttame.images.saliency_maps import has_evidence, keep_above_quantile, resize_maps, to_unit_range


def test_min_max_equals_the_published_one() -> None:
    golden = Golden("masked_inputs")
    scaled = to_unit_range(golden["input.raw_maps"])
    assert_close(scaled, golden["output.normalize_min_max"], 1e-5)


@pytest.mark.parametrize("percent", [0, 50, 85])
def test_thresholded_masks_equal_the_published_ones(percent: int) -> None:
    golden = Golden("masked_inputs")
    masks = keep_above_quantile(resize_maps(golden["input.masks"], (64, 64)), percent / 100)
    assert_close(masks, golden[f"output.mask_{percent}"], 1e-5)


def test_a_constant_map_stays_constant_and_has_no_evidence() -> None:
    maps = torch.stack([torch.full((3, 4), 7.0), torch.arange(12.0).reshape(3, 4)])
    assert has_evidence(maps).tolist() == [False, True]
    assert torch.equal(to_unit_range(maps)[0], torch.zeros(3, 4))
    assert to_unit_range(maps)[1].max() == 1


def test_arguments_are_not_changed() -> None:
    maps = torch.rand(2, 1, 4, 4)
    before = maps.clone()
    to_unit_range(maps)
    keep_above_quantile(maps, 0.5)
    keep_above_quantile(maps, 0)[:] = 9
    resize_maps(maps, (8, 8))
    assert torch.equal(maps, before)


def test_each_map_of_a_batch_has_its_own_range_and_threshold() -> None:
    small = torch.tensor([[[0.1, 0.2], [0.3, 0.4]]])
    both = torch.cat([small, small * 100])
    assert_close(to_unit_range(both)[0], to_unit_range(both)[1], 1e-6)
    kept = keep_above_quantile(both, 0.5) > 0
    assert torch.equal(kept[0], kept[1])
    assert kept.sum() == 4


def test_thresholds_interpolate_between_values() -> None:
    maps = torch.arange(4.0).reshape(1, 2, 2)  # the median is 1.5
    assert keep_above_quantile(maps, 0.5).flatten().tolist() == [0, 0, 2, 3]
    assert keep_above_quantile(maps, 1.0).flatten().tolist() == [0, 0, 0, 3]


def test_resizing_keeps_half_pixel_centres() -> None:
    wide = resize_maps(torch.tensor([[[[0.0, 1.0]]]]), (1, 4))
    assert_close(wide, torch.tensor([[[[0.0, 0.25, 0.75, 1.0]]]]), 1e-6)


def test_differences_of_rounding_are_no_evidence() -> None:
    """Sums in another order give another last digit; a map of them would be stretched."""
    flat = torch.full((1, 1, 3, 3), 0.3)
    flat[0, 0, 1, 1] += 3 * torch.finfo(torch.float32).eps
    assert not has_evidence(flat).any()
    assert not to_unit_range(flat).any()
    flat[0, 0, 1, 1] += 1e-5
    assert has_evidence(flat).all()
    assert to_unit_range(flat).max() == 1
