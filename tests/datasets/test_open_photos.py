from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.datasets.noise_photos import make_shard, photo_bytes, save_photo
from ttame.datasets.image_folder import ImageFolder
from ttame.datasets.image_list import ImageList
from ttame.datasets.open_photos import open_photos
from ttame.datasets.photo_source import PhotoSource
from ttame.datasets.tar_shards import TarShards
from ttame.datasets.wrapped_dataset import WrappedDataset
from ttame.errors import DatasetError


def test_folder_with_photos(tmp_path: Path) -> None:
    save_photo(tmp_path / "deep" / "down" / "a.png")
    make_shard(tmp_path / "archive.tar", {})
    for data in (tmp_path, str(tmp_path)):
        photos = open_photos(data)
        assert isinstance(photos, ImageFolder)
        assert len(photos) == 1


@pytest.mark.parametrize("data", ["{}", "{}/*.tar", "{}/[{{0..1}}].tar", "{}/0.tar::{}/1.tar"])
def test_shards(tmp_path: Path, data: str) -> None:
    for number in (1, 0):
        make_shard(tmp_path / f"{number}.tar", {"x.png": photo_bytes(number)})
    (tmp_path / "classes.csv").write_text("class,name")
    photos = open_photos(data.format(tmp_path, tmp_path))
    assert isinstance(photos, TarShards)
    assert [photos.key(index) for index in range(len(photos))] == ["0.tar/x.png", "1.tar/x.png"]


def test_single_shard_and_list_file(tmp_path: Path) -> None:
    shard = make_shard(tmp_path / "0.tar", {"x.png": photo_bytes(0)})
    assert isinstance(open_photos(shard), TarShards)
    save_photo(tmp_path / "a.png")
    (tmp_path / "photos.lst").write_text("a.png 1\n")
    assert isinstance(open_photos(tmp_path / "photos.lst"), ImageList)


def test_file_names_with_wildcard_characters_are_taken_as_they_are(tmp_path: Path) -> None:
    shard = make_shard(tmp_path / "train[1].tar", {"x.png": photo_bytes(0)})
    assert len(open_photos(shard)) == 1


def test_datasets_and_sources() -> None:
    photos = open_photos([Image.fromarray(np.zeros((8, 8, 3), np.uint8))])
    assert isinstance(photos, WrappedDataset)
    assert open_photos(photos) is photos


def test_empty_source_is_refused() -> None:
    class Nothing(PhotoSource):
        def __len__(self) -> int:
            return 0

        def key(self, index: int) -> str:
            raise IndexError

        name = read = label = key  # type: ignore[assignment]

    with pytest.raises(DatasetError, match="Nothing is empty"):
        open_photos(Nothing())


def test_single_photo_is_refused_with_its_folder(tmp_path: Path) -> None:
    photo = save_photo(tmp_path / "a.PNG")
    with pytest.raises(DatasetError, match=r"single photo.*try: its folder") as caught:
        open_photos(photo)
    assert caught.value.remedy.endswith(str(tmp_path))


def test_missing_path_names_what_looks_like_it(tmp_path: Path) -> None:
    save_photo(tmp_path / "imagenet-samples" / "a.png")
    for typed in ("imagenet-sample", "imagenet_samples/train/x"):
        with pytest.raises(DatasetError, match="does not exist") as caught:
            open_photos(tmp_path / typed)
        assert caught.value.remedy == str(tmp_path / "imagenet-samples")
    with pytest.raises(DatasetError, match="does not exist; allowed: a folder of photos"):
        open_photos(tmp_path / "qqqqq")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "empty text"),
        ("https://example.org/a.tar", "is not local"),
        ("pipe:cat a.tar", "is not local"),
        ("/nowhere/at-all-*.tar", "matches no file"),
    ],
)
def test_other_texts_are_refused(data: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        open_photos(data)


def test_pattern_that_matches_photos_names_the_folder(tmp_path: Path) -> None:
    save_photo(tmp_path / "a.png")
    with pytest.raises(DatasetError, match=r"a\.png, which is not a tar shard.*try: the folder"):
        open_photos(f"{tmp_path}/*.png")


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz"])
def test_compressed_shards_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x1f\x8b" + bytes(1000))
    with pytest.raises(DatasetError, match="is compressed"):
        open_photos(tmp_path / name)
