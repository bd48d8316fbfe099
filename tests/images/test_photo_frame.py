from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from ttame.images.photo_crop import PhotoCrop, PhotoRegion
from ttame.images.photo_frame import PhotoFrame
from ttame.images.photos import read_photo
from ttame.images.preprocessing import Preprocessing

CORNERS = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])


def jpeg_turned(stored: np.ndarray, orientation: int) -> bytes:
    picture = Image.fromarray(stored)
    exif = picture.getexif()
    exif[ExifTags.Base.Orientation] = orientation
    content = io.BytesIO()
    picture.save(content, "PNG", exif=exif)
    return content.getvalue()


def test_outside_the_crop_is_what_is_asked_for() -> None:
    frame = PhotoFrame.of(Image.new("RGB", (8, 4)), PhotoCrop((4, 4), 4))
    assert frame == PhotoFrame((8, 4), PhotoRegion(2, 0, 6, 4))
    zeros, nan = frame.placed(CORNERS), frame.placed(CORNERS, outside=math.nan)
    assert zeros.shape == (1, 4, 8)
    assert zeros[0, :, [0, 1, 6, 7]].abs().max() == 0
    assert nan[0, :, [0, 1, 6, 7]].isnan().all()
    # Centres at 1/8, 3/8, 5/8, 7/8 of the crop, those of the cells at 1/4 and 3/4.
    assert nan[0, 0, 2:6].tolist() == [1.0, 1.25, 1.75, 2.0]
    assert nan[0, :, 2].tolist() == [1.0, 1.5, 2.5, 3.0]


def test_squash_and_padding_are_undone() -> None:
    photo = Image.new("RGB", (8, 4))
    squashed = PhotoFrame.of(photo, PhotoCrop((4, 4), (4, 4))).placed(CORNERS)[0]
    assert squashed[0, [0, 7]].tolist() == [1.0, 2.0] and squashed[3, [0, 7]].tolist() == [3.0, 4.0]
    # Padded, the photo is the middle half of the input: its rows lie at 3/8 and 5/8 of the map.
    padded = PhotoFrame.of(photo, PhotoCrop((8, 8), "pad"))
    assert padded.region == PhotoRegion(0, -2, 8, 6)
    assert padded.placed(CORNERS)[0, :, 0].tolist() == [1.25, 1.75, 2.25, 2.75]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_marker_is_found_where_it_lies(orientation: int, tmp_path: Path) -> None:
    stored = np.zeros((24, 40, 3), dtype=np.uint8)
    stored[9:12, 15:18] = 255
    content = jpeg_turned(stored, orientation)
    (tmp_path / "photo.png").write_bytes(content)
    preprocessing = Preprocessing((16, 16), 24, (0.0,) * 3, (1.0,) * 3)
    opened = Image.open(io.BytesIO(content))
    upright = read_photo(content)
    seen = preprocessing.pixels(upright)[:1]
    lying = PhotoFrame.of(opened, preprocessing.crop).placed(seen)[0]
    # Nothing is scaled, so that the crop of the photo, laid back, is the photo itself.
    np.testing.assert_allclose(lying * 255, stored[..., 0], atol=1e-3)
    by_path = PhotoFrame.of(tmp_path / "photo.png", preprocessing.crop).placed(seen)[0]
    np.testing.assert_allclose(by_path * 255, np.asarray(upright)[..., 0], atol=1e-3)
