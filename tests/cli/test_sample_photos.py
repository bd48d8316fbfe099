from __future__ import annotations

import importlib.util

import pytest
from PIL import Image

from ttame.cli.sample_photos import sample_photos
from ttame.errors import MissingExtraError


def test_sample_photos_are_photos() -> None:
    photos = sample_photos()
    assert [path.stem for path in photos] == ["chelsea", "coffee", "rocket", "astronaut"]
    for path in photos:
        with Image.open(path) as photo:
            assert min(photo.size) > 256


def test_what_holds_them_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match="scikit-image"):
        sample_photos()
