from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ttame.errors import ClassifierError, ImageError
from ttame.images.band_photo import BandPhoto
from ttame.images.network_channels import parse_channels
from ttame.images.preprocessing import Preprocessing


def test_grey_is_the_luma_of_the_colours() -> None:
    pixels = Preprocessing((2, 2), 2, channels="grey").pixels(
        Image.new("RGB", (4, 4), (200, 100, 50))
    )
    assert pixels.shape == (1, 2, 2)
    luma = (0.299 * 200 + 0.587 * 100 + 0.114 * 50) / 255
    assert pixels[0, 0, 0].item() == pytest.approx(luma, abs=0.5 / 255)


def test_grey_is_normalised_by_its_own_numbers() -> None:
    preprocessing = Preprocessing((2, 2), 2, (0.25,), (0.5,))
    assert preprocessing.channels == "grey"
    prepared = preprocessing.prepare(Image.new("L", (4, 4), 51))
    torch.testing.assert_close(prepared, torch.full((1, 2, 2), (0.2 - 0.25) / 0.5))
    assert preprocessing.black(prepared).item() == -0.5


def test_opacity_is_the_fourth_channel() -> None:
    rgba = Preprocessing((2, 2), 2, channels="rgba")
    assert rgba.mean[3] == 0 and rgba.std[3] == 1
    through = Image.new("RGBA", (4, 4), (255, 0, 0, 51))
    torch.testing.assert_close(rgba.pixels(through)[:, 0, 0], torch.tensor([1.0, 0.0, 0.0, 0.2]))
    assert rgba.pixels(Image.new("L", (4, 4), 0))[3].min() == 1
    # For three channels it is laid on white.
    on_white = Preprocessing((2, 2), 2).pixels(through)[:, 0, 0]
    torch.testing.assert_close(on_white, torch.tensor([255, 204, 204]) / 255)


def test_bands_are_divided_by_what_is_said_or_by_their_type() -> None:
    values = np.arange(2 * 2 * 2, dtype=np.uint16).reshape(2, 2, 2) * 1000
    said = Preprocessing((2, 2), 2, channels=2, band_scale=10_000)
    torch.testing.assert_close(said.prepare(BandPhoto(values)).flatten(), torch.arange(8) / 10)
    by_type = Preprocessing((2, 2), 2, channels=2).prepare(BandPhoto(values))
    torch.testing.assert_close(by_type.flatten(), torch.arange(8) * 1000 / 65535)


def test_bands_are_cropped_like_photos() -> None:
    values = np.zeros((2, 4, 8), dtype=np.float32)
    values[1, :, 2:6] = np.nan
    values[0, :, 2:6] = 3
    prepared = Preprocessing((4, 4), 4, channels=2).prepare(BandPhoto(values))
    assert prepared.shape == (2, 4, 4)
    assert (prepared[0] == 3).all() and (prepared[1] == 0).all()  # NaN means "no data".


@pytest.mark.parametrize(
    ("channels", "photo", "message"),
    [
        (
            13,
            Image.new("RGB", (4, 4)),
            "a photo of mode RGB for a network of 13 bands",
        ),
        (13, BandPhoto(np.zeros((4, 4, 4))), "a picture of 4 bands for a network of 13"),
        (
            "rgb",
            BandPhoto(np.zeros((4, 4, 4))),
            "4 bands for a network of 3; allowed: a photo",
        ),
    ],
)
def test_other_bands_are_refused(channels: Any, photo: Any, message: str) -> None:
    with pytest.raises(ImageError, match=re.escape(message)):
        Preprocessing((4, 4), 4, channels=channels).prepare(photo)


@pytest.mark.parametrize("said", ["colour", 0, -1, "3.5", 5000])
def test_channels_that_cannot_be_are_refused(said: object) -> None:
    with pytest.raises(ClassifierError, match="grey, rgb, rgba, or a number of bands"):
        parse_channels(said)


@pytest.mark.parametrize(
    "changes", [{"display_bands": (0, 13, 1)}, {"display_bands": (0, 1)}, {"band_scale": 0.0}]
)
def test_bands_that_cannot_be_drawn_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ClassifierError, match=r"display bands|band scale"):
        Preprocessing((4, 4), 4, channels=13, **changes)


def test_display_bands_are_drawn_in_their_order() -> None:
    values = np.zeros((4, 10, 10))
    values[3, 0, :] = values[1, :, 0] = 1
    said = Preprocessing((4, 4), 4, channels=4, display_bands=(3, 2, 1))
    shown = np.asarray(said.drawn(BandPhoto(values)))
    assert shown[0, 5].tolist() == [255, 0, 0] and shown[5, 0].tolist() == [0, 0, 255]
    mean = np.asarray(Preprocessing((4, 4), 4, channels=4).drawn(BandPhoto(values)))
    assert mean[0, 0].tolist() == [255] * 3 and len(set(mean[0, 5].tolist())) == 1


def test_channels_are_stored_and_files_without_them_are_rgb() -> None:
    for preprocessing in (
        Preprocessing((4, 4), 4, channels=13, band_scale=10_000, display_bands=(3, 2, 1)),
        Preprocessing((4, 4), 4, channels="grey"),
        Preprocessing.imagenet(8),
    ):
        assert Preprocessing.from_json(preprocessing.as_json()) == preprocessing
    assert set(Preprocessing.imagenet(8).as_json()) == {
        "input_size", "resize", "mean", "std", "interpolation"
    }  # fmt: skip
