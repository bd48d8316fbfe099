"""What a network's weights expect of photos, as users write it down."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ttame.errors import ClassifierError
from ttame.images.preprocessing import Preprocessing

HALVES = (0.5, 0.5, 0.5)


def test_lists_and_arrays_are_as_good_as_tuples() -> None:
    written = Preprocessing([32, 48], [36, 54], np.full(3, 0.5), [0.5] * 3)  # type: ignore[arg-type]
    expected = Preprocessing((32, 48), (36, 54), HALVES, HALVES)
    assert written == expected and hash(written) == hash(expected)
    assert Preprocessing.from_json(written.as_json()) == expected


def test_a_pair_is_height_and_width() -> None:
    preprocessing = Preprocessing.imagenet((56, 112))
    assert preprocessing.input_size == (56, 112) and preprocessing.resize == (64, 128)
    assert preprocessing.prepare(Image.new("RGB", (90, 70))).shape == (3, 56, 112)


def test_pixels_are_normalised_channel_by_channel() -> None:
    preprocessing = Preprocessing((4, 4), (4, 4), (0.0, 0.5, 1.0), (1.0, 0.5, 0.25))
    prepared = preprocessing.prepare(Image.new("RGB", (9, 7), (255, 0, 51)))
    expected = torch.tensor([1.0, -1.0, (0.2 - 1.0) / 0.25])
    torch.testing.assert_close(prepared, expected[:, None, None].expand(3, 4, 4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_size": 32}, "input_size 32; allowed: a sequence of numbers"),
        ({"input_size": (32,)}, "input_size (32,); allowed: (height, width) in pixels"),
        ({"resize": (0, 32)}, "sizes of at least 1 pixel"),
        ({"mean": (0.5, 0.5)}, "a mean and a positive standard deviation for each"),
        ({"std": (0.5, 0.0, 0.5)}, "a mean and a positive standard deviation for each"),
        ({"mean": ("a", 0, 0)}, "mean ('a', 0, 0); allowed: a sequence of numbers"),
        ({"interpolation": "cubic"}, "interpolation 'cubic'"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    written = {"input_size": (32, 32), "resize": 36, **changes}
    with pytest.raises(ClassifierError, match=re.escape(message)):
        Preprocessing(**written)


def test_the_middle_of_a_very_long_photo_is_interpolated_from_its_neighbours() -> None:
    # Resized it would have 200,000 x 16 · 16 pixels, more than is held.
    values = np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8)
    photo = Image.fromarray(np.stack([values, values])).convert("RGB")
    shown = Preprocessing((16, 16), 16, interpolation="bilinear").pixels(photo)
    first = (2_400_000 - 16) // 2
    places = (np.arange(first, first + 16) + 0.5) / 8 - 0.5  # eight columns for every pixel
    expected = np.interp(places, np.arange(300_000), values) / 255
    assert np.abs(shown.numpy() - expected).max() < 1.01 / 255


def test_what_is_marked_in_a_very_long_photo_is_cropped_alike() -> None:
    mask = np.zeros((2, 300_000), dtype=bool)
    mask[:, 150_000:] = True
    marked = Preprocessing((16, 16), 16).crop_mask(mask)
    assert not marked[:, :8].any() and marked[:, 8:].all()


def test_padding_shows_the_whole_photo_and_region_undoes_it() -> None:
    preprocessing = Preprocessing((8, 8), "pad", (0.0,) * 3, (1.0,) * 3, "nearest")
    pixels = preprocessing.pixels(Image.new("RGB", (20, 10), "white"))
    assert pixels[:, 2:6].eq(1).all() and pixels.sum() == 3 * 4 * 8
    region = preprocessing.region((20, 10))
    assert (region.left, region.top, region.right, region.bottom) == (0, -5, 20, 15)
    assert Preprocessing.from_json(preprocessing.as_json()) == preprocessing
