from __future__ import annotations

import gzip
import multiprocessing
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.noise_photos import make_shard, photo_bytes
from ttame.datasets.tar_shards import TarShards
from ttame.errors import DatasetError, ImageError


def keys(photos: TarShards) -> list[str]:
    return [photos.key(index) for index in range(len(photos))]


def test_samples_photos_and_labels(tmp_path: Path) -> None:
    first = make_shard(
        tmp_path / "a.tar",
        {
            "0.png": photo_bytes(0, (8, 6)),
            "0.cls": b"17\n",
            "cats/v1.0/1.PNG": photo_bytes(1, (10, 6)),  # the dot of a folder ends no key
            "cats/v1.0/1.json": b"{}",
            "only.json": b"{}",
        },
    )
    second = make_shard(tmp_path / "b.tar", {"2.cls": b"3", "2.png": photo_bytes(2, (12, 6))})
    photos = TarShards([second, first])
    assert keys(photos) == ["b.tar/2.png", "a.tar/0.png", "a.tar/cats/v1.0/1.PNG"]
    assert [photos.label(index) for index in range(3)] == [3, 17, None]
    assert [photos.read(index).width for index in (2, 0, 1, 2)] == [10, 12, 8, 10]
    assert photos.name(1) == f"{first}/0.png"


def test_masks_beside_photos_are_not_taken_for_photos(tmp_path: Path) -> None:
    mask, photo = photo_bytes(0, (4, 4)), photo_bytes(1, (8, 8))
    members = {"0.seg.png": mask, "0.jpg": photo, "1.png": mask, "1.jpg": photo}
    photos = TarShards([make_shard(tmp_path / "a.tar", members)])
    assert keys(photos) == ["a.tar/0.jpg", "a.tar/1.jpg"]
    assert photos.read(1).size == (8, 8)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    trap = pickle.dumps(Trap())
    members = {"0.png": photo_bytes(0), "0.pkl": trap, "0.pyd": trap, "0.pth": trap, "0.cls": trap}
    photos = TarShards([make_shard(tmp_path / "a.tar", members)])
    photos.read(0)
    with pytest.raises(DatasetError, match=r"the label of .*0\.png is b"):
        photos.label(0)
    assert not (tmp_path / "sprung").exists()


def test_pickled_copies_and_forked_processes_read_the_same(tmp_path: Path) -> None:
    members = {f"{number}.png": photo_bytes(number) for number in range(20)}
    photos = TarShards([make_shard(tmp_path / "a.tar", members)])
    here = [np.asarray(photos.read(index)).sum() for index in range(20)]
    assert len(set(here)) == 20
    copy = pickle.loads(pickle.dumps(photos))
    assert [np.asarray(copy.read(index)).sum() for index in range(20)] == here
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pictures = pool.map(photos.read, range(20), chunksize=1)
        pool.close()
        pool.join()
    assert [np.asarray(picture).sum() for picture in pictures] == here


def test_damaged_photo_is_an_image_error_and_leaves_the_others(tmp_path: Path) -> None:
    members = {"0.png": photo_bytes(0)[:60], "1.png": photo_bytes(1)}
    photos = TarShards([make_shard(tmp_path / "a.tar", members)])
    with pytest.raises(ImageError, match=r"a\.tar/0\.png is not a readable image"):
        photos.read(0)
    assert photos.read(1).size == (24, 20)


def test_every_place_to_cut_a_shard_is_noticed(tmp_path: Path) -> None:
    members = {"0.png": photo_bytes(0, (8, 8)), "1.png": photo_bytes(1, (8, 8))}
    shard = make_shard(tmp_path / "a.tar", members)
    whole = shard.read_bytes()
    # Headers and contents are blocks of 512 bytes: header, photo, header, photo, end.
    assert len(TarShards([shard])) == 2
    for length in (0, 100, 512, 600, 1024, 1100, 1536, 1600, 2048, 2100):
        shard.write_bytes(whole[:length])
        with pytest.raises(DatasetError, match=r"a\.tar is not a complete tar file"):
            TarShards([shard])


def test_damaged_header_is_noticed(tmp_path: Path) -> None:
    members = {f"{number}.png": photo_bytes(number, (8, 8)) for number in range(3)}
    shard = make_shard(tmp_path / "a.tar", members)
    content = bytearray(shard.read_bytes())
    content[1024 + 5] ^= 0xFF  # in the name of the second member
    shard.write_bytes(content)
    with pytest.raises(DatasetError, match=r"a\.tar .*damaged header at byte 1024"):
        TarShards([shard])


def test_what_is_no_plain_tar_is_refused(tmp_path: Path) -> None:
    shard = make_shard(tmp_path / "a.tar", {"0.png": photo_bytes(0)})
    (tmp_path / "z.tar").write_bytes(gzip.compress(shard.read_bytes()))
    with pytest.raises(DatasetError, match=r"z\.tar is compressed.*try: unpacking"):
        TarShards([shard, tmp_path / "z.tar"])
    (tmp_path / "text.tar").write_text("no tar" * 200)
    with pytest.raises(DatasetError, match=r"text\.tar is not a complete tar file"):
        TarShards([tmp_path / "text.tar"])
    with pytest.raises(DatasetError, match=r"cannot read shard .*gone\.tar \(No such file"):
        TarShards([tmp_path / "gone.tar"])


def test_shards_without_photos_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no photos in the shards .*a\.tar; allowed: .*\.jpg"):
        TarShards([make_shard(tmp_path / "a.tar", {"0.txt": b"words"})])
    with pytest.raises(DatasetError, match="no shards"):
        TarShards([])


def test_shard_that_vanishes_or_shrinks_while_it_is_used(tmp_path: Path) -> None:
    shard = make_shard(tmp_path / "a.tar", {"0.png": photo_bytes(0)})
    photos = TarShards([shard])
    os.truncate(shard, 700)
    with pytest.raises(ImageError, match=r"0\.png cannot be read \(the shard has become shorter"):
        photos.read(0)
    shard.unlink()
    with pytest.raises(ImageError, match=r"0\.png cannot be read \(No such file"):
        photos.read(0)


@pytest.mark.parametrize("content", [b"cat", b"", b"-1", b"1.5", b"1" * 40])
def test_label_that_is_no_class_number(tmp_path: Path, content: bytes) -> None:
    members = {"0.png": photo_bytes(0), "0.cls": content}
    photos = TarShards([make_shard(tmp_path / "a.tar", members)])
    with pytest.raises(DatasetError, match="allowed: a class number"):
        photos.label(0)
