from __future__ import annotations

from pathlib import Path

import torch

from ttame.images.photo_crop import PhotoCrop
from ttame.results.explanation import Explanation
from ttame.results.explanation_files import read_explanation
from ttame.results.remembered_photo import remembered
from ttame.testing import tiny_photos


def test_files_say_how_maps_are_drawn_but_not_where_photos_lie(tmp_path: Path) -> None:
    explanation = Explanation(
        torch.rand(1, 1, 4, 4), torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 2), (4, 4),
        crop=PhotoCrop((4, 4), 4), of_pixels=True, photos=remembered(tiny_photos(1)),
    )  # fmt: skip
    explanation.save(tmp_path / "why.safetensors")
    fields = read_explanation(tmp_path / "why.safetensors")
    assert fields["of_pixels"] is True and fields["crop"] == PhotoCrop((4, 4), 4)
    assert "photos" not in fields
    assert Explanation.load(tmp_path / "why.safetensors").photos == ()
