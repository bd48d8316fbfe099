from __future__ import annotations

import pytest
import torch

from ttame.errors import TapError
from ttame.features.feature_taps import FeatureTap

TOKENS = FeatureTap("block", "tokens", 4, (2, 3), (32, 48), prefix_tokens=2)


def test_tokens_become_a_map_row_by_row() -> None:
    output = torch.arange(8.0)[None, :, None].expand(1, 8, 4)
    feature_map = TOKENS.feature_map(output, (32, 48))
    assert feature_map.shape == (1, 4, 2, 3)
    assert feature_map[0, 0].tolist() == [[2, 3, 4], [5, 6, 7]]
    assert TOKENS.prefix(output)[0, :, 0].tolist() == [0, 1]


def test_channels_last_is_turned() -> None:
    tap = FeatureTap("stage", "channels last", 5, (2, 3), (32, 48))
    output = torch.randn(1, 2, 3, 5)
    assert torch.equal(tap.feature_map((output, None), (32, 48)), output.permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("image_size", "patches", "grid"),
    [((32, 48), 6, (2, 3)), ((64, 48), 12, (4, 3)), ((40, 48), 9, (3, 3))],
)
def test_the_grid_follows_the_image(
    image_size: tuple[int, int], patches: int, grid: tuple[int, int]
) -> None:
    assert TOKENS.grid_at(image_size, patches) == grid


def test_patches_that_fill_no_grid_are_refused() -> None:
    with pytest.raises(TapError, match="7 patch tokens"):
        TOKENS.grid_at((32, 48), 7)
    with pytest.raises(TapError, match="6 patch tokens"):  # 2x3 or 3x2
        TOKENS.grid_at((40, 40), 6)


@pytest.mark.parametrize("output", [None, torch.zeros(1, 8, 5), torch.zeros(1, 4, 2, 3)])
def test_another_output_than_at_making_is_refused(output: object) -> None:
    with pytest.raises(TapError, match="block gave"):
        TOKENS.feature_map(output, (32, 48))
