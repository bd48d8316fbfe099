"""The centre baseline: a Gaussian, written out place by place."""

from __future__ import annotations

import math

import pytest
import torch

from tests.conftest import assert_close
from tests.tiny_networks import tiny_cnn
from ttame.errors import ExplainerError
from ttame.explainers.methods.baseline.centre_gaussian import CentreGaussian


@pytest.mark.parametrize("width", [0.25, 0.1])
def test_maps_are_those_of_the_slow_formula(width: float) -> None:
    maps = CentreGaussian(tiny_cnn(), width=width)(torch.randn(2, 3, 40, 64), "top2").maps
    assert maps.shape == (2, 2, 5, 8)
    for row in range(5):
        for column in range(8):
            down = (row + 0.5) / 5 - 0.5
            across = (column + 0.5) / 8 - 0.5
            expected = math.exp(-(down**2 + across**2) / (2 * width**2))
            assert_close(maps[:, :, row, column], torch.full((2, 2), expected), 1e-5)


def test_the_middle_is_brightest_and_the_sides_are_alike() -> None:
    maps = CentreGaussian(tiny_cnn())(torch.randn(1, 3, 40, 40)).maps
    assert float(maps[0, 0, 2, 2]) == maps.max() == 1
    assert torch.allclose(maps, maps.flip(2))
    assert torch.allclose(maps, maps.transpose(2, 3))


def test_a_width_that_is_not_positive_is_an_error() -> None:
    with pytest.raises(ExplainerError, match="width 0.*positive"):
        CentreGaussian(tiny_cnn(), width=0)
