from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from tests.datasets.noise_photos import save_photo
from ttame.datasets.image_folder import ImageFolder
from ttame.datasets.joined_photos import JoinedPhotos
from ttame.errors import DatasetError, ImageError


def keys(photos: ImageFolder) -> list[str]:
    return [photos.key(index) for index in range(len(photos))]


def test_nested_photos_are_sorted_by_path_and_hidden_ones_left_out(tmp_path: Path) -> None:
    for name in ("b/2.PNG", "b/1.jpg", "a.png", "c/d/e.JPeG", ".hidden/x.png", "b/._1.jpg"):
        save_photo(tmp_path / name)
    (tmp_path / "b" / "notes.txt").write_text("no photo")
    assert keys(ImageFolder(tmp_path)) == ["a.png", "b/1.jpg", "b/2.PNG", "c/d/e.JPeG"]


def test_order_does_not_depend_on_the_order_of_creation(tmp_path: Path) -> None:
    names = ["10.png", "9.png", "z/0.png", "B.png", "a.png"]
    for folder, order in (("first", names), ("second", names[::-1])):
        for name in order:
            save_photo(tmp_path / folder / name)
    first, second = ImageFolder(tmp_path / "first"), ImageFolder(tmp_path / "second")
    assert keys(first) == keys(second) == sorted(names)
    assert first.fingerprint() == second.fingerprint()


def test_fingerprint_changes_with_the_photos(tmp_path: Path) -> None:
    save_photo(tmp_path / "a.png")
    before = ImageFolder(tmp_path).fingerprint()
    save_photo(tmp_path / "b.png")
    assert ImageFolder(tmp_path).fingerprint() != before


def test_fingerprint_tells_where_names_end(tmp_path: Path) -> None:
    for folder, names in (("first", ["a.jpg", "b.jpgc.jpg"]), ("second", ["a.jpgb.jpg", "c.jpg"])):
        for name in names:
            save_photo(tmp_path / folder / name)
    first, second = ImageFolder(tmp_path / "first"), ImageFolder(tmp_path / "second")
    assert "".join(keys(first)) == "".join(keys(second))
    assert first.fingerprint() != second.fingerprint()


def test_reads_the_photo_and_names_its_path(tmp_path: Path) -> None:
    save_photo(tmp_path / "cats" / "tom.png", size=(11, 7))
    photos = ImageFolder(tmp_path)
    assert photos.read(0).size == (11, 7)
    assert photos.name(0) == str(tmp_path / "cats" / "tom.png")
    assert photos.label(0) is None


def test_unreadable_photo_raises_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"not a photo")
    with pytest.raises(ImageError, match=r"broken\.jpg is not a readable image"):
        ImageFolder(tmp_path).read(0)


def test_links_are_followed_but_not_round_in_circles(tmp_path: Path) -> None:
    save_photo(tmp_path / "elsewhere" / "x.png")
    (tmp_path / "data" / "class").mkdir(parents=True)
    os.symlink(tmp_path / "elsewhere", tmp_path / "data" / "linked")
    os.symlink(tmp_path / "data", tmp_path / "data" / "class" / "up")
    photos = ImageFolder(tmp_path / "data")
    assert keys(photos) == ["linked/x.png"]
    up = tmp_path / "data" / "class" / "up"
    assert photos.notes == (f"{up} links to a folder above it, and is skipped",)
    assert JoinedPhotos([photos, ImageFolder(tmp_path / "elsewhere")]).notes == photos.notes


def test_folder_without_photos_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no photo")
    with pytest.raises(DatasetError, match=r"holds no photos; allowed: .*\.jpg"):
        ImageFolder(tmp_path)
    with pytest.raises(DatasetError, match="is not a folder"):
        ImageFolder(tmp_path / "notes.txt")


def test_names_that_are_no_utf8_are_read_and_can_be_printed(tmp_path: Path) -> None:
    strange = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    Image.new("RGB", (8, 8), (200, 0, 0)).save(strange)
    folder = ImageFolder(tmp_path)
    assert folder.name(0).endswith("caf\\xe9.png")
    folder.name(0).encode("utf-8")
    assert folder.read(0).getpixel((0, 0)) == (200, 0, 0)
    assert len(folder.fingerprint()) > 0
