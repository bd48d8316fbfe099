"""Which images a published comparison takes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.datasets.noise_photos import save_photo
from ttame.datasets.open_photos import open_photos
from ttame.errors import UnknownNameError
from ttame.evaluation.reproductions import known_reproduction, listed_photos


def test_of_imagenet_a_list_that_anybody_can_make_again(tmp_path: Path) -> None:
    names = [f"ILSVRC2012_val_{index:08d}" for index in range(1, 13)]
    for index, name in enumerate(names):
        save_photo(tmp_path / f"n{index % 3}" / f"{name}.JPEG", index)
    chosen = listed_photos(open_photos(tmp_path), 5)
    found = {Path(chosen.key(index)).stem for index in range(len(chosen))}
    expected = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:5]
    assert found == set(expected)


def test_other_photos_are_taken_as_they_are(tmp_path: Path) -> None:
    for index in range(4):
        save_photo(tmp_path / f"{index}.png", index)
    photos = open_photos(tmp_path)
    assert listed_photos(photos, 2) is photos


def test_unknown_names() -> None:
    assert known_reproduction("t-tame-vit-b-16").images == 2000
    with pytest.raises(UnknownNameError, match="t-tame-vit-b-16"):
        known_reproduction("t-tame-vit-b16")
