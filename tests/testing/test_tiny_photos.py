"""Tiny photos differ from each other and are the same in every call."""

from __future__ import annotations

import numpy as np

from ttame.testing import tiny_photos


def test_photos_differ_and_are_the_same_in_every_call() -> None:
    photos = [np.asarray(photo) for photo in tiny_photos(3, size=20)]
    assert {photo.shape for photo in photos} == {(20, 20, 3)}
    np.testing.assert_array_equal(photos, [np.asarray(p) for p in tiny_photos(3, size=20)])
    assert (photos[0] != photos[1]).any() and (photos[1] != photos[2]).any()
