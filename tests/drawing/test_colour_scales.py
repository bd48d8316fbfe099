import numpy as np
import pytest
import torch
from skimage.color import rgb2lab

from ttame.drawing.colour_scales import apply_colours, colour_indices, colour_scale, known_scales
from ttame.errors import UnknownNameError


def lightness(name):
    return rgb2lab(colour_scale(name)[None] / 255)[0, :, 0]


@pytest.mark.parametrize("name", known_scales())
def test_lightness_increases_evenly(name):
    steps = np.diff(lightness(name))
    # Rounding to 8 bits moves a colour by up to 0.2 in lightness, so single steps may stand still.
    assert steps.min() > -0.1
    wide_steps = np.diff(lightness(name)[::16])
    assert wide_steps.min() > 0.5 * np.median(wide_steps)
    assert wide_steps.max() < 2 * np.median(wide_steps)


@pytest.mark.parametrize("name", known_scales())
def test_tables_are_those_of_matplotlib(name):
    matplotlib = pytest.importorskip("matplotlib", reason="no dependency of ttame")
    expected = matplotlib.colormaps[name](np.arange(256))[:, :3] * 255
    assert np.abs(colour_scale(name) - expected).max() <= 0.5


def test_tables_cannot_be_changed_by_a_caller():
    with pytest.raises(ValueError, match="read-only"):
        colour_scale()[0] = 1


def test_unknown_scale_names_near_ones():
    with pytest.raises(UnknownNameError, match="try: viridis"):
        colour_scale("virids")
    with pytest.raises(UnknownNameError, match="allowed: cividis, inferno, magma, viridis"):
        colour_scale("jet")


def test_colours_of_a_heatmap():
    heatmap = np.array([[0.0, 0.2], [1.0, 0.5]])
    coloured = apply_colours(heatmap, "magma")
    assert coloured.shape == (2, 2, 3)
    assert coloured.dtype == np.uint8
    table = colour_scale("magma")
    np.testing.assert_array_equal(coloured, table[[[0, 51], [255, 128]]])


def test_values_out_of_range_neither_wrap_nor_fail():
    indices = colour_indices([[-0.01, 1.01, np.nan, np.inf, -np.inf]])
    assert indices.tolist() == [[0, 255, 0, 255, 0]]


def test_tensors_are_taken_too():
    assert colour_indices(torch.tensor([[0.0, 1.0]], dtype=torch.float64)).tolist() == [[0, 255]]
