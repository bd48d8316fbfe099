"""Which rows of the leaderboard a few-shot study takes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch

from benchmarks.few_shot_study import Study
from benchmarks.leaderboard_rows import lent_rows
from tests.benchmarks.tiny_study import PHOTOS, lend
from tests.datasets.noise_photos import save_photo
from tests.evaluation.evaluated import photo_folder
from tests.tiny_networks import tiny_cnn
from ttame.datasets.open_photos import open_photos
from ttame.explainers.known_explainers import make_explainer


def test_the_leaderboard_lends_what_is_the_same(study: Study, tmp_path: Path) -> None:
    names = ("grad_cam", "layer_cam", "rise")
    assert lent_rows(study, names) == {}
    folder = lend(study, ("grad_cam", "layer_cam", "few_shot"))
    lent = lent_rows(study, (*names, "few_shot"))
    assert list(lent) == ["grad_cam", "layer_cam"]
    assert lent["grad_cam"].images.tolist() == [0, 2, 4, 6, 8]

    other = make_explainer("grad_cam", study.classifier, rectified=False)
    changed = dataclasses.replace(study, explainers={**study.explainers, "grad_cam": other})
    assert list(lent_rows(changed, names)) == ["layer_cam"]

    elsewhere = open_photos(photo_folder(tmp_path / "more", PHOTOS))
    moved = dataclasses.replace(study, photos=elsewhere)
    assert list(lent_rows(moved, names)) == ["grad_cam", "layer_cam"]
    save_photo(tmp_path / "more" / "0000.png")
    shifted = dataclasses.replace(study, photos=open_photos(tmp_path / "more"))
    assert lent_rows(shifted, names) == {}

    retrained = tiny_cnn()
    with torch.no_grad():
        retrained.network[-1].weight.neg_()
    assert lent_rows(dataclasses.replace(study, classifier=retrained), names) == {}

    (folder / "rows" / "layer_cam" / "000000.parquet").unlink()
    assert list(lent_rows(study, names)) == ["grad_cam"]
    identity = json.loads((folder / "evaluation.json").read_text())
    (folder / "evaluation.json").write_text(json.dumps(identity | {"protocol": "rise 123"}))
    assert lent_rows(study, names) == {}
