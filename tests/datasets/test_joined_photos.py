"""Several sets of photos as one."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from ttame.datasets.joined_photos import JoinedPhotos
from ttame.datasets.open_photos import open_photos
from ttame.datasets.wrapped_dataset import WrappedDataset


def shade(value: int) -> Image.Image:
    return Image.new("RGB", (4, 4), (value, value, value))


def test_every_photo_keeps_its_place() -> None:
    first = WrappedDataset([shade(value) for value in (0, 1)])
    second = WrappedDataset([shade(value) for value in (2, 3, 4)])
    joined = JoinedPhotos([first, second])
    assert [joined.read(i).getpixel((0, 0))[0] for i in range(len(joined))] == [0, 1, 2, 3, 4]  # type: ignore[index]
    assert joined.name(3) == second.name(1)
    assert len({joined.key(i) for i in range(5)}) == 5


def test_a_place_named_twice_comes_twice(tmp_path: Path) -> None:
    shade(9).save(tmp_path / "a.png")
    joined = open_photos([tmp_path, str(tmp_path)])
    assert len(joined) == 2
    assert joined.key(0) != joined.key(1)
    assert joined.fingerprint() != open_photos([tmp_path]).fingerprint()
