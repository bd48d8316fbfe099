from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from ttame.images.photos import read_photo
from ttame.images.rgb_conversion import scaling_of, to_rgb

GRADIENT = np.array([[0, 13107], [39321, 65535]], dtype=np.uint16)


def tiff(values: np.ndarray, **tags: object) -> bytes:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        number, kind = {"least": (340, 12), "most": (341, 12)}[tag]
        info.tagtype[number] = kind
        info[number] = value
    content = io.BytesIO()
    Image.fromarray(values).save(content, "TIFF", tiffinfo=info)
    return content.getvalue()


def greys(content: bytes) -> list[int]:
    photo = np.asarray(read_photo(content))
    assert (photo == photo[..., :1]).all()
    return photo[..., 0].flatten().tolist()


def tiff_of_tags(rows: bytes, bits: int, white_is_zero: bool) -> bytes:
    """A 2x2 TIFF that no library wrote: little-endian, one strip behind the directory."""
    photometric = 0 if white_is_zero else 1
    tags = [
        (256, 3, 1, 2), (257, 3, 1, 2), (258, 3, 1, bits), (259, 3, 1, 1),
        (262, 3, 1, photometric), (273, 4, 1, 0), (277, 3, 1, 1), (278, 3, 1, 2),
        (279, 4, 1, len(rows)),
    ]  # fmt: skip
    start = 8 + 2 + 12 * len(tags) + 4
    body = b"".join(
        struct.pack("<HHII", tag, kind, count, start if tag == 273 else value)
        for tag, kind, count, value in tags
    )
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + body + b"\0" * 4 + rows


def test_16_bit_greys_keep_their_steps() -> None:
    content = io.BytesIO()
    Image.fromarray(GRADIENT).save(content, "PNG")
    assert greys(content.getvalue()) == [0, 51, 153, 255]
    assert scaling_of(read_photo(content.getvalue())) == (
        "0 became black and 65535 white (16-bit integers)"
    )


def test_12_bits_end_at_4095() -> None:
    # Two pixels are three bytes: 0x000 0x333, 0x999 0xFFF.
    content = tiff_of_tags(bytes.fromhex("000333999FFF"), 12, white_is_zero=False)
    assert greys(content) == [0, 51, 153, 255]


def test_white_is_zero() -> None:
    content = tiff_of_tags(GRADIENT.astype("<u2").tobytes(), 16, white_is_zero=True)
    assert greys(content) == [255, 204, 102, 0]


@pytest.mark.parametrize("kind", [np.float32, np.int32, np.uint16])
def test_the_range_that_a_file_names_counts(kind: type) -> None:
    content = tiff(np.array([[100, 150], [200, 400]], dtype=kind), least=100.0, most=300.0)
    assert greys(content) == [0, 64, 128, 255]


def test_other_numbers_end_at_their_own_extremes() -> None:
    content = tiff(np.array([[-1000, 0], [1000, 3000]], dtype=np.int32))
    assert greys(content) == [0, 64, 128, 255]
    assert "-1000 became black and 3000 white (its least" in scaling_of(read_photo(content))


def test_floats_within_0_and_1_are_taken_as_they_are() -> None:
    assert greys(tiff(np.array([[0.2, 0.4], [0.6, 0.8]], dtype=np.float32))) == [51, 102, 153, 204]


def test_a_dark_picture_is_pointed_out() -> None:
    photo = to_rgb(Image.fromarray(np.full((2, 2), 4095, dtype=np.uint16)))
    assert photo.getpixel((0, 0)) == (16, 16, 16)
    assert "of which 4095 is the largest in use" in scaling_of(photo)


def test_8_bits_are_not_scaled() -> None:
    assert scaling_of(to_rgb(Image.new("L", (2, 2), 7))) == ""
