"""The picture of pytorch-grad-cam, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ttame.compat import show_cam_on_image
from ttame.compat.cam_overlay import rainbow
from ttame.errors import ImageError


def test_one_pixel_by_hand() -> None:
    photo = np.full((1, 1, 3), 0.2, np.float32)
    # Half of the way is (126, 255, 130) in the rainbow; mixed with a third of the photo.
    colour = (2 / 3) * np.array([126, 255, 130]) / 255 + 0.2 / 3
    for rgb in (True, False):
        expected = 255 * (colour if rgb else colour[::-1]) / colour.max()
        found = show_cam_on_image(photo, np.full((1, 1), 0.5), use_rgb=rgb, image_weight=1 / 3)
        assert found.dtype == np.uint8
        assert np.abs(found[0, 0] - expected).max() <= 1


def test_the_rainbow_goes_from_blue_to_red() -> None:
    table = rainbow()
    assert table.shape == (256, 3)
    assert table[[0, 255]].tolist() == [[0, 0, 128], [128, 0, 0]]
    assert table.min() == 0
    assert table.max() == 255
    assert np.abs(np.diff(table, axis=0)).max() == 5


def test_mistakes_are_one_clear_error() -> None:
    photo, heat = np.zeros((2, 3, 3)), np.zeros((2, 3))
    assert not show_cam_on_image(photo, heat, image_weight=1).any()
    with pytest.raises(ImageError, match="photo with values from 0 to 200.*try: photo / 255"):
        show_cam_on_image(photo + 200 * np.eye(3)[:2, :, None], heat)
    with pytest.raises(ImageError, match="a map with values from"):
        show_cam_on_image(photo, heat - np.nan)
    with pytest.raises(ImageError, match=r"\(2, 3, 3\) and a map \(3, 2\)"):
        show_cam_on_image(photo, heat.T)
    with pytest.raises(ImageError, match="colormap 5; allowed: 2"):
        show_cam_on_image(photo, heat, colormap=5)
    with pytest.raises(ImageError, match="image_weight 2"):
        show_cam_on_image(photo, heat, image_weight=2)
