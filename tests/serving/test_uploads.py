"""Files from strangers: read, or refused in one line with the right status."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save

from tests.serving.tiny_server import content, photo
from ttame.errors import ImageError
from ttame.serving.problems import Problem, problem_of
from ttame.serving.settings import ServingSettings
from ttame.serving.uploads import (
    read_uploaded_mask,
    read_uploaded_photo,
    read_uploaded_tensor,
)

LIMITS = ServingSettings(most_pixels=1_000_000)


def refused(data: bytes) -> tuple[int, str]:
    try:
        read_uploaded_photo(data, LIMITS)
    except Problem as problem:
        return problem.status, problem.detail
    except ImageError as problem:
        return problem_of(problem).status, str(problem)
    return 200, ""


def png_of_size(width: int, height: int) -> bytes:
    """A header that promises much, and nothing behind it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b""))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_photos_of_every_kind_are_read_upright(kind: str) -> None:
    assert read_uploaded_photo(content(kind=kind), LIMITS).size == (60, 40)
    exif = Image.Exif()
    exif[274] = 6
    turned = content(kind="JPEG", exif=exif)
    assert read_uploaded_photo(turned, LIMITS).size == (40, 60)


@pytest.mark.parametrize(
    ("data", "status", "said"),
    [
        (b"", 422, "empty"),
        (b"nothing that anybody knows", 415, "not a photo"),
        (b'<?xml version="1.0"?><svg onload="alert(1)"/>', 415, "SVG"),
        (b"\xef\xbb\xbf  <SVG xmlns='http://www.w3.org/2000/svg'></SVG>", 415, "SVG"),
        (b"<!DOCTYPE html><script>alert(1)</script>", 415, "HTML"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 415, "not a photo"),
        (b"\x89PNG\r\n\x1a\n", 415, "not a photo"),
        (png_of_size(100_000, 100_000), 413, "pixels"),
        (png_of_size(2_000, 2_000), 413, "2000x2000"),
        (png_of_size(50, 50), 422, "not a readable image"),
        (content()[:-40], 422, "not a readable image"),
        (content(kind="JPEG")[:300], 415, "not a photo"),
        (b"PK\x03\x04" + bytes(100), 415, "not a photo"),
        (content(photo(size=(1, 40))), 422, "at least 2 pixels"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else str(value),
)
def test_what_is_no_photo_is_refused_with_a_reason(data: bytes, status: int, said: str) -> None:
    assert refused(data)[0] == status
    assert said in refused(data)[1]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animated_pictures_are_refused(kind: str) -> None:
    frames = [photo(seed) for seed in range(3)]
    moving = content(frames[0], kind, save_all=True, append_images=frames[1:])
    assert refused(moving) == (422, "an animated picture; allowed: one that stands still")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_photos_are_read_or_refused(data: st.DataObject) -> None:
    """Whatever a few changed bytes make of a file: a photo, or a status of the 400s."""
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"]))
    damaged = bytearray(content(photo(size=(9, 7)), kind))
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(damaged)))
    added = data.draw(st.binary(max_size=20))
    status, said = refused(bytes(damaged[:end]) + added)
    assert status in (200, 413, 415, 422)
    assert "\n" not in said and len(said) < 1500


def test_a_tensor_is_read_and_everything_else_refused() -> None:
    image = torch.randn(3, 4, 5)
    assert torch.equal(read_uploaded_tensor(save({"images": image[None]}), (3, 4, 5)), image)
    broken = image.clone()
    broken[0, 0, 0] = float("nan")
    for data in (
        b"",
        bytes(8),
        struct.pack("<Q", 2**60) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        save({"images": image}),
        save({"images": image[None].double()}),
        save({"other": image[None]}),
        save({"images": image[None], "more": image[None].clone()}),
        save({"images": image[None]})[:-1],
        save({"images": broken[None]}),
    ):
        with pytest.raises(Problem) as found:
            read_uploaded_tensor(data, (3, 4, 5))
        assert found.value.status == 422


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 80), st.integers(0, 255), st.integers(0, 120))
def test_damaged_tensors_are_read_or_refused(place: int, value: int, end: int) -> None:
    data = bytearray(save({"images": torch.ones(1, 1, 2, 2)}))
    data[min(place, len(data) - 1)] = value
    try:
        found = read_uploaded_tensor(bytes(data[: max(end, len(data) - end)]), (1, 2, 2))
    except Problem as problem:
        assert problem.status == 422
    else:
        assert found.shape == (1, 2, 2) and bool(found.isfinite().all())


def test_a_mask_hides_where_it_is_dark_and_has_the_size_of_the_input() -> None:
    values = np.array([[0, 127, 128], [255, 0, 200]], dtype=np.uint8)
    mask = read_uploaded_mask(content(Image.fromarray(values)), (2, 3))
    assert mask.tolist() == [[False, False, True], [True, False, True]]
    with pytest.raises(Problem, match="allowed: 3x3"):
        read_uploaded_mask(content(Image.fromarray(values)), (3, 3))
    with pytest.raises(Problem, match="pixels"):
        read_uploaded_mask(png_of_size(9_000, 9_000), (2, 3))
