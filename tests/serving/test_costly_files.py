"""Small files that take minutes to read are refused at once, and photos are not."""

from __future__ import annotations

import struct

import pytest

from tests.serving.tiny_server import content, photo
from ttame.serving.costly_files import costs_minutes
from ttame.serving.problems import Problem
from ttame.serving.settings import ServingSettings
from ttame.serving.uploads import read_uploaded_photo


def progressive(scans: int) -> bytes:
    """A photo whose first scan is repeated: decoders do it again each time."""
    whole = content(kind="JPEG", progressive=True)
    first = whole.index(b"\xff\xda")
    second = whole.index(b"\xff", first + 14)
    while whole[second + 1] in (0, 0xFF):
        second = whole.index(b"\xff", second + 2)
    return whole[:first] + scans * whole[first:second] + whole[second:]


def tiff(pieces: int, order: str = "<", tag: int = 273, *, big: bool = False) -> bytes:
    """A header that says so, and nothing behind it."""
    start = b"II" if order == "<" else b"MM"
    if big:
        head = start + struct.pack(order + "HHHQ", 43, 8, 0, 16)
        return head + struct.pack(order + "Q", 1) + struct.pack(order + "HHQQ", tag, 3, pieces, 8)
    head = start + struct.pack(order + "HI", 42, 8)
    return head + struct.pack(order + "H", 1) + struct.pack(order + "HHII", tag, 3, pieces, 8)


def test_a_jpeg_may_have_as_many_scans_as_photos_have() -> None:
    assert costs_minutes(content(kind="JPEG")) == ""
    assert costs_minutes(progressive(50)) == ""
    assert "100 scans" in costs_minutes(progressive(200))
    assert read_uploaded_photo(progressive(3), ServingSettings()).size == (60, 40)
    with pytest.raises(Problem, match="saved again") as found:
        read_uploaded_photo(progressive(200), ServingSettings())
    assert found.value.status == 422
    # What stands behind the end, or inside of a segment, is not decoded.
    assert costs_minutes(content(kind="JPEG") + 500 * b"\xff\xda\x00\x02") == ""
    hidden = b"\xff\xd8\xff\xfe" + struct.pack(">H", 2002) + 1000 * b"\xff\xda"
    assert costs_minutes(hidden + content(kind="JPEG")[2:]) == ""
    assert "segments" in costs_minutes(b"\xff\xd8" + 20_000 * b"\xff\xfe\x00\x02")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("tag", [273, 324])
@pytest.mark.parametrize("big", [False, True])
def test_a_tiff_may_have_as_many_strips_as_scanners_write(order: str, tag: int, big: bool) -> None:
    assert costs_minutes(tiff(7_000, order, tag, big=big)) == ""
    assert "strips or tiles" in costs_minutes(tiff(1_000_000, order, tag, big=big))
    assert costs_minutes(tiff(1_000_000, order, tag, big=big)[:20]) == ""


def test_other_files_are_not_looked_at() -> None:
    for kind in ("PNG", "GIF", "WEBP", "BMP", "TIFF"):
        assert costs_minutes(content(photo(1), kind)) == ""
    assert costs_minutes(b"") == costs_minutes(b"\xff\xd8") == costs_minutes(b"II*\0") == ""
