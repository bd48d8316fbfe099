"""One photo from standard input."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from ttame.datasets.piped_photo import PipedPhoto
from ttame.errors import ImageError


def test_a_piped_photo_is_a_set_of_one() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (8, 6), (9, 8, 7)).save(stream, "PNG")
    photos = PipedPhoto(io.BytesIO(stream.getvalue()))
    assert len(photos) == 1 and photos.name(0) == "standard input"
    # As often as wanted, though a pipe can be read once.
    assert photos.read(0).getpixel((0, 0)) == photos.read(0).getpixel((0, 0)) == (9, 8, 7)


@pytest.mark.parametrize(("content", "said"), [(b"", "nothing on"), (b"text", "not a readable")])
def test_what_is_no_photo_is_refused_at_once(content: bytes, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        PipedPhoto(io.BytesIO(content))
