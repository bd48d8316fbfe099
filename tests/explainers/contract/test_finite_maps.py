"""Maps that are not finite are refused, whatever they add up to."""

from __future__ import annotations

import pytest
import torch

from ttame.errors import NonFiniteMapError
from ttame.explainers.contract.finite_maps import refuse_non_finite


def test_the_first_image_and_how_many_more_are_named() -> None:
    maps = torch.zeros(4, 2, 3, 3)
    refuse_non_finite(maps, "cam")
    maps[1, 0, 0, 0], maps[3, 1, 2, 2] = float("inf"), float("-inf")
    with pytest.raises(NonFiniteMapError, match="cam gave NaN.*input 1 of the batch and 1 more"):
        refuse_non_finite(maps, "cam")


def test_a_sum_that_overflows_is_no_infinite_map() -> None:
    refuse_non_finite(torch.full((1, 1, 2, 2), 3e38), "cam")
