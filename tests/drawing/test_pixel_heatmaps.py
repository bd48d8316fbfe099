import pytest
import torch
from PIL import Image

from ttame.drawing.heatmap_overlay import overlay_heatmap
from ttame.drawing.pixel_heatmaps import FINEST_SIDE, pixel_heatmaps
from ttame.images.photo_crop import PhotoRegion
from ttame.images.saliency_maps import to_unit_range


def noisy(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_what_speaks_against_the_class_is_as_dark_as_nothing():
    heatmap = pixel_heatmaps(torch.tensor([[-9.0, 0.0], [1.0, 4.0]]))
    assert heatmap.tolist() == [[0.0, 0.0], [0.25, 1.0]]
    # Without anything that speaks for it, the least bad place is the brightest.
    assert pixel_heatmaps(torch.tensor([[-9.0, -5.0, -1.0]])).tolist() == [[0.0, 0.5, 1.0]]
    # All positive: nothing is known about where zero lies, so the minimum is dark.
    assert pixel_heatmaps(torch.tensor([[3.0, 4.0, 5.0]])).tolist() == [[0.0, 0.5, 1.0]]


def test_outliers_do_not_darken_the_rest():
    maps = noisy(20, 20).abs()
    maps[3, 4] = 1e6
    heatmap = pixel_heatmaps(maps)
    assert heatmap[3, 4] == 1
    assert (heatmap == 1).sum() == 5
    assert heatmap.mean() > 0.2
    assert to_unit_range(maps).mean() < 0.01
    # Where nearly nothing is bright, that is not cut off.
    few = torch.zeros(20, 20)
    few[5, 5], few[5, 6] = 2.0, 1.0
    assert pixel_heatmaps(few)[5, 5:7].tolist() == [1.0, 0.5]
    assert pixel_heatmaps(few).sum() == 1.5


def test_neighbours_are_averaged_down_to_a_grid_of_the_same_aspect():
    maps = noisy(2, 3, 224, 112)
    heatmaps = pixel_heatmaps(maps)
    assert heatmaps.shape == (2, 3, FINEST_SIDE, FINEST_SIDE // 2)
    assert heatmaps.dtype == torch.float32
    averages = maps.reshape(2, 3, 112, 2, 56, 2).mean(dim=(3, 5))
    chosen = averages[1, 2].clamp(min=0)
    top = chosen.flatten().sort().values[-1 - 112 * 56 // 100]
    assert torch.allclose(heatmaps[1, 2], (chosen / top).clamp(max=1), atol=1e-5)
    assert pixel_heatmaps(maps.half()).dtype == torch.float32


@pytest.mark.parametrize("value", [0.0, 0.1, -3.7])
def test_a_constant_map_stays_dark(value):
    heatmap = pixel_heatmaps(torch.full((2, 225, 223), value))
    assert heatmap.abs().max() == 0
    photo = Image.new("RGB", (30, 30), (10, 20, 30))
    overlay = overlay_heatmap(photo, heatmap[0], PhotoRegion(0, 0, 30, 30))
    assert overlay.tobytes() == photo.tobytes()


def test_tiny_values_are_drawn_like_large_ones():
    maps = noisy(8, 8)
    assert torch.allclose(pixel_heatmaps(maps * 1e-20), pixel_heatmaps(maps), atol=1e-5)
