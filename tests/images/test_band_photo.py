from __future__ import annotations

import warnings

import numpy as np

from ttame.images.band_photo import BandPhoto


def test_numbers_beyond_float32_are_no_data() -> None:
    bands = np.array([[[1e300, 1.0], [np.nan, -np.inf]]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (plane,) = BandPhoto(bands).planes()
        assert np.asarray(plane).tolist() == [[0.0, 1.0], [0.0, 0.0]]


def test_the_largest_numbers_are_drawn() -> None:
    most = float(np.finfo(np.float32).max)
    bands = np.array([[[most, -most]], [[most, -most]]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for display_bands in (None, (0, 1, 0)):
            drawn = BandPhoto(bands).drawn(display_bands)
            assert [drawn.getpixel((x, 0)) for x in range(2)] == [(255,) * 3, (0,) * 3]
