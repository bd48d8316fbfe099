"""What the tests of the benchmarks may use: a small few-shot study."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import few_shot_pointing_game, leaderboard_rows
from benchmarks.few_shot_study import Study
from tests.benchmarks.tiny_study import PHOTOS, PLAN, few_shot
from tests.evaluation.evaluated import photo_folder
from tests.tiny_networks import tiny_cnn
from ttame.datasets.open_photos import open_photos
from ttame.explainers.known_explainers import make_explainer


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A tiny classifier, photos, boxes, and a leaderboard of every second photo."""
    torch.set_num_threads(1)
    classifier = tiny_cnn()
    monkeypatch.setattr(leaderboard_rows, "LEADERBOARDS", tmp_path / "leaderboards")
    monkeypatch.setattr(few_shot_pointing_game, "BOXES", tmp_path / "boxes")
    names = ("grad_cam", "layer_cam", "random", "centre_gaussian", "recipro_cam")
    study = Study(
        classifier,
        {"few_shot": few_shot(classifier), **{n: make_explainer(n, classifier) for n in names}},
        tmp_path / "kept",
        PLAN,
        open_photos(photo_folder(tmp_path / "photos", PHOTOS)),
    )
    study.folder.mkdir()
    return study
