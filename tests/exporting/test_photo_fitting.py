"""Photos fitted and maps laid on them by matrices, against Pillow and against PhotoFrame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ttame.errors import ExplainerError
from ttame.exporting.photo_fitting import check_photo_fitting, fitted, laid_on
from ttame.images.photo_frame import PhotoFrame
from ttame.images.preprocessing import Preprocessing

SIZES = [(37, 90), (24, 24), (13, 61), (70, 71), (5, 5), (48, 31), (61, 13)]
RESIZED: list[Any] = [20, 40, (33, 18), (16, 24), "pad"]


def photo_of(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(sum(size)).integers(0, 256, (*size, 3), dtype=np.uint8)


def by_pillow(photo: np.ndarray, preprocessing: Preprocessing) -> torch.Tensor:
    """What the network sees, with columns resized after rows: in two calls, each of one side."""
    picture, method = Image.fromarray(photo), Image.Resampling[preprocessing.interpolation.upper()]
    crop = preprocessing.crop
    width, height = crop.resized_size(picture.size)
    resized = picture.resize((width, picture.height), method).resize((width, height), method)
    left, top = crop.corner(picture.size, (0.5, 0.5))
    rows, columns = crop.input_size
    cut = resized.crop((left, top, left + columns, top + rows))
    return torch.from_numpy(np.array(cut)).permute(2, 0, 1).float()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("resize", RESIZED, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pixels_are_pillow_s_to_the_last_bit(
    size: tuple[int, int], resize: Any, interpolation: Any
) -> None:
    """Enlarged and reduced, cropped and padded, in whole and in uneven steps."""
    preprocessing = Preprocessing((16, 21), resize, interpolation=interpolation)
    photo = photo_of(size)
    (found,) = fitted(torch.from_numpy(photo)[None], preprocessing)
    assert torch.equal(found, by_pillow(photo, preprocessing))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_they_are_those_of_preprocessing_but_for_its_order(size: tuple[int, int]) -> None:
    preprocessing = Preprocessing((16, 21), 24)
    photo = photo_of(size)
    (found,) = fitted(torch.from_numpy(photo)[None], preprocessing)
    expected = (preprocessing.pixels(Image.fromarray(photo)) * 255).round()
    assert float((found - expected).abs().max()) <= 1


def test_each_photo_of_a_batch_is_fitted_by_itself() -> None:
    photos = torch.from_numpy(np.stack([photo_of((30, 40)), photo_of((40, 30)).swapaxes(0, 1)]))
    preprocessing = Preprocessing((16, 16), 20)
    both = fitted(photos, preprocessing)
    assert both.dtype == torch.float32 and both.shape == (2, 3, 16, 16)
    assert torch.equal(both[1:], fitted(photos[1:], preprocessing))


@pytest.mark.parametrize("resize", RESIZED, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_maps_lie_where_the_network_looked(size: tuple[int, int], resize: Any) -> None:
    preprocessing = Preprocessing((16, 21), resize)
    height, width = size
    maps = torch.randn(1, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    found = laid_on(maps, torch.zeros(1, height, width, 3), preprocessing.crop)
    frame = PhotoFrame((width, height), preprocessing.region((width, height)))
    assert torch.allclose(found[0], frame.placed(maps[0]), atol=1e-5)


def test_nearest_neighbours_are_refused() -> None:
    with pytest.raises(ExplainerError, match='nearest.*bicubic.*takes="pixels"'):
        check_photo_fitting(Preprocessing((16, 16), 16, interpolation="nearest"))
