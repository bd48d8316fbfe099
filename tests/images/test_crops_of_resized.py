"""The crop of a resized picture equals what resizing the whole picture would give."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ttame.images.crops_of_resized import crop_of_resized

FILTERS = [Image.Resampling[name] for name in ("NEAREST", "BILINEAR", "BICUBIC", "LANCZOS")]


@pytest.mark.parametrize("method", FILTERS, ids=lambda method: method.name)
@pytest.mark.parametrize(
    ("photo_size", "size"), [((90, 40), (300, 133)), ((300, 40), (60, 8)), ((9, 70), (5, 39))]
)
def test_cropping_first_is_resizing_first(
    photo_size: tuple[int, int], size: tuple[int, int], method: Image.Resampling
) -> None:
    generator = np.random.default_rng(0)
    photo = Image.fromarray(generator.integers(0, 256, (*photo_size[::-1], 3), dtype=np.uint8))
    for crop in [(2, 3, 5, 8), (-3, -2, size[0], 7), (0, 0, size[0] + 4, size[1] + 1)]:
        expected = np.asarray(photo.resize(size, method).crop(crop)).astype(int)
        found = np.asarray(crop_of_resized(photo, size, crop, method)).astype(int)
        assert np.abs(found - expected).max() <= 1
