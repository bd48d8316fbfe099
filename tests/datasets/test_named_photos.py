from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from ttame.datasets.named_photos import NamedPhotos, open_named_photos
from ttame.datasets.photo_source import PhotoSource
from ttame.errors import DatasetError, ImageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for number, name in enumerate(["one.png", "two.jpg", "photos/three.png"]):
        Image.new("RGB", (8, 8 + number)).save(tmp_path / name)
    (tmp_path / "torn.png").write_bytes(b"torn")
    (tmp_path / "list.txt").write_text("two.jpg 4")
    return tmp_path


def heights(photos: PhotoSource) -> list[int]:
    return [photos.read(index).height for index in range(len(photos))]


def test_photos_by_their_paths(folder: Path) -> None:
    photos = NamedPhotos([folder / "two.jpg", str(folder / "one.png")])
    assert heights(photos) == [9, 8]
    assert photos.key(1) == photos.name(1) == photos.location(1) == str(folder / "one.png")
    assert photos.label(0) is None


def test_each_of_them_must_be_readable(folder: Path) -> None:
    with pytest.raises(ImageError, match=r"torn\.png is not a readable image"):
        NamedPhotos([folder / "one.png", folder / "torn.png"])
    with pytest.raises(DatasetError, match="no photos"):
        NamedPhotos([])
    photos = NamedPhotos([folder / "one.png"])
    (folder / "one.png").write_bytes(b"torn meanwhile")
    with pytest.raises(DatasetError, match=r"one\.png is not a readable image"):
        photos.read(0)


def test_named_photos_come_before_those_of_other_places(folder: Path) -> None:
    assert heights(open_named_photos(folder / "two.jpg")) == [9]
    places = [folder / "photos", folder / "one.png", str(folder / "list.txt")]
    photos = open_named_photos(places)
    assert heights(photos) == [8, 10, 9]
    assert photos.location(1) == str(folder / "photos" / "three.png")
    assert photos.location(2) == str(folder / "two.jpg")
    assert photos.label(2) == 4


def test_other_data_are_opened_as_ever(folder: Path) -> None:
    assert heights(open_named_photos([Image.new("RGB", (8, 5))])) == [5]
    assert heights(open_named_photos(str(folder / "photos"))) == [10]
    with pytest.raises(DatasetError):
        open_named_photos([])


def test_a_location_keeps_bytes_that_a_name_only_shows(folder: Path) -> None:
    strange = os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png")
    Image.new("RGB", (8, 7)).save(strange)
    photos = NamedPhotos([strange])
    assert photos.location(0) == strange
    assert photos.name(0).endswith(r"caf\xe9.png")
