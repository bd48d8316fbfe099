from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from ttame.notebook.picture_address import MOST_BYTES, jpeg_bytes, picture_address


def decoded(address: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))


def test_a_picture_is_made_small_but_never_enlarged() -> None:
    assert decoded(picture_address(Image.new("RGB", (1000, 500)), 320)).size == (320, 160)
    assert decoded(picture_address(Image.new("RGB", (30, 20)), 320)).size == (30, 20)


def test_even_noise_fits() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (640, 640, 3), dtype=np.uint8)
    address = picture_address(Image.fromarray(noise), 320)
    assert len(base64.b64decode(address.partition(",")[2])) <= MOST_BYTES
    assert len(address) < 27_000


def test_a_jpeg_is_one() -> None:
    assert Image.open(io.BytesIO(jpeg_bytes(Image.new("RGBA", (8, 4))))).format == "JPEG"
