"""Photos are had again as long as somebody keeps them, and never another one in their place."""

from __future__ import annotations

import copy
import gc
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ttame.errors import ImageError
from ttame.images.band_photo import BandPhoto
from ttame.results.remembered_photo import RememberedPhoto, photo_of, remembered


def test_an_open_photo_is_not_kept_alive() -> None:
    photo = Image.new("RGB", (8, 4))
    (memory,) = remembered(photo)
    assert memory.get() is photo
    del photo
    gc.collect()
    with pytest.raises(ImageError, match=r"no longer in memory; try: photo=\.\.\."):
        memory.get()


def test_a_resized_photo_is_another_one() -> None:
    photo = Image.new("RGB", (80, 40))
    memory = RememberedPhoto.of(photo)
    photo.thumbnail((8, 8))
    with pytest.raises(ImageError, match=r"resized.*photo="):
        memory.get()


def test_a_file_is_found_from_another_folder_unless_it_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 4)).save("cat.png")
    memory = RememberedPhoto.of("cat.png")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir("below")
    assert memory.get() == tmp_path / "cat.png" and memory.name == "cat.png"
    Image.new("RGB", (8, 5), "red").save(tmp_path / "cat.png")
    with pytest.raises(ImageError, match=r"cat.png was changed.*photo="):
        memory.get()
    (tmp_path / "cat.png").unlink()
    with pytest.raises(ImageError, match=r"cat.png was changed.*photo="):
        memory.get()


def test_copies_forget_open_photos_and_keep_paths(tmp_path: Path) -> None:
    Image.new("RGB", (8, 4)).save(tmp_path / "cat.png")
    photo = Image.new("RGB", (8, 4))
    of_file, of_open = remembered([tmp_path / "cat.png", photo])
    assert pickle.loads(pickle.dumps(of_file)).get() == tmp_path / "cat.png"
    with pytest.raises(ImageError, match="no longer"):
        copy.deepcopy(of_open).get()


def test_bands_are_remembered_and_what_is_given_wins() -> None:
    bands = BandPhoto(np.zeros((13, 4, 8), dtype=np.uint16))
    memory = remembered([bands])
    other = Image.new("RGB", (8, 4))
    assert photo_of(memory, 0, None) is bands
    assert photo_of(memory, 0, other) is other
    with pytest.raises(ImageError, match=r"given a tensor.*photo="):
        photo_of((), 0, None)
