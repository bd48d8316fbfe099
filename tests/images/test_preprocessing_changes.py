"""What is said of a preprocessing replaces that part, and nothing else."""

from __future__ import annotations

import dataclasses

import pytest

from ttame.errors import ClassifierError
from ttame.images.preprocessing import Preprocessing
from ttame.images.preprocessing_changes import PreprocessingChanges

OWN = Preprocessing((32, 48), 36, (0.1,) * 3, (0.2,) * 3, "bicubic")


@pytest.mark.parametrize(
    ("said", "changed"),
    [
        ({}, {}),
        ({"mean": (0.5,) * 3}, {"mean": (0.5,) * 3}),
        ({"resize": "squash"}, {"resize": (32, 48)}),
        ({"resize": "pad"}, {"resize": "pad"}),
        ({"resize": 40}, {"resize": 40}),
        ({"crop_share": 0.8}, {"resize": (40, 60)}),
    ],
)
def test_one_part_is_changed(said: dict[str, object], changed: dict[str, object]) -> None:
    changes = PreprocessingChanges(**said)  # type: ignore[arg-type]
    assert changes.applied_to(OWN) == dataclasses.replace(OWN, **changed)  # type: ignore[arg-type]


def test_a_whole_one_needs_size_mean_and_deviation() -> None:
    changes = PreprocessingChanges(mean=(0.5,) * 3, std=(0.25,) * 3)
    assert changes.complete((32, 32)) == Preprocessing((32, 32), 32, (0.5,) * 3, (0.25,) * 3)
    assert changes.complete(None) is None
    assert PreprocessingChanges(mean=(0.5,) * 3).complete((32, 32)) is None


def test_contradictions_are_refused() -> None:
    with pytest.raises(ClassifierError, match="both a resize and a crop share"):
        PreprocessingChanges(resize=40, crop_share=0.8)
    with pytest.raises(ClassifierError, match="crop share 1.5"):
        PreprocessingChanges(crop_share=1.5)
