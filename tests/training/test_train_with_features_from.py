"""P-TAME: a head on another network's features learns what the explained network looks at."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.training.training_material import (
    log_of,
    noise_photos,
    quick,
    tiny_cnn,
    tiny_vit,
    train,
    weights_of,
)
from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError, ResumeError, TrainingError
from ttame.explainers.trained.explainer_folder import load_explainer
from ttame.images.preprocessing import Preprocessing
from ttame.training.learning_rate_test import find_learning_rate
from ttame.training.training_progress import TrainingProgress

SETTINGS = quick("p-tame", epochs=3, checkpoint_every=2)


class Colours(nn.Module):
    """Tells whether there is more red or more green; no layer of it can be read."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(40.0))

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :2].mean(dim=(2, 3)) * self.scale


def planted(count: int) -> tuple[list[Image.Image], np.ndarray]:
    """Grey photos with a red or green patch in one quarter, and which pixels it covers."""
    random, photos = np.random.default_rng(0), []
    where = np.zeros((count, 16, 16), dtype=bool)
    for index in range(count):
        pixels = random.integers(100, 140, (16, 16, 1)).repeat(3, axis=2).astype(np.uint8)
        row, column = 8 * random.integers(0, 2, 2)
        where[index, row + 1 : row + 7, column + 1 : column + 7] = True
        pixels[where[index]] = (220, 40, 40) if index % 2 else (40, 220, 40)
        photos.append(Image.fromarray(pixels))
    return photos, where


def colour_network() -> Classifier:
    plain = Preprocessing((16, 16), (16, 16), mean=(0.5,) * 3, std=(0.5,) * 3)
    return Classifier(Colours(), preprocessing=plain, taps=(), name="colours")


def test_the_head_finds_what_the_other_network_has_no_word_for(tmp_path: Path) -> None:
    """The features are those of a random network; only the explained one knows of red and green."""
    photos, where = planted(24)
    explained, other = colour_network(), tiny_cnn()
    changes = {"epochs": 12, "batch_size": 8, "learning_rate": 0.05, "cross_entropy_weight": 2.0}
    settings = quick("p-tame", held_out_at_most=2, **changes)
    explainer = train(explained, photos, tmp_path / "out", settings, features_from=other)
    images = explained.prepare(photos)
    maps = torch.nn.functional.interpolate(explainer(images).maps.sigmoid(), size=(16, 16))[:, 0]
    inside = torch.from_numpy(where)
    ratios = [float(m[i].mean() / m[~i].mean()) for m, i in zip(maps, inside, strict=True)]
    assert np.median(ratios) > 2


def test_both_networks_stay_as_they_are_and_both_are_described(tmp_path: Path) -> None:
    explained, other = tiny_vit(), tiny_cnn()
    other.network.train()
    before = {name: value.clone() for name, value in other.network.state_dict().items()}
    explainer = train(explained, noise_photos(12), tmp_path / "out", SETTINGS, features_from=other)
    assert other.network.training
    after = other.network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["method"] == "p_tame" and config["classifier"]["taps"] == []
    assert config["classifier"]["fingerprint"] == explained.fingerprint()
    assert config["features_from"]["fingerprint"] == other.fingerprint()
    assert config["features_from"]["preprocessing"]["input_size"] == [16, 16]
    assert "features_from=other" in config["training"]["command"]
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "and one of another network" in card and other.fingerprint() in card
    assert "features_from=the_other_network" in card

    again = load_explainer(tmp_path / "out", classifier=tiny_vit(), features_from=tiny_cnn())
    images = torch.stack([explained.prepare(photo)[0] for photo in noise_photos(2)])
    assert torch.equal(again(images, "all").maps, explainer(images, "all").maps)
    assert again.method == "p_tame"
    assert explainer(images).provenance["features_from"] == "tiny"


class StoppedError(Exception):
    """What ends a run in the middle."""


def test_an_interrupted_run_is_resumed_with_the_same_features_only(tmp_path: Path) -> None:
    def stop(progress: TrainingProgress) -> None:
        if progress.step == 3:
            raise StoppedError

    def run(folder: str, seed: int = 0, **options: object) -> None:
        other = tiny_cnn(seed)
        train(
            tiny_vit(),
            noise_photos(12),
            tmp_path / folder,
            SETTINGS,
            features_from=other,
            **options,
        )

    run("whole")
    with pytest.raises(StoppedError):
        run("two", watch=stop)
    with pytest.raises(ResumeError, match="features from another network"):
        run("two", seed=1, resume=True)
    run("two", resume=True)
    expected, found = weights_of(tmp_path / "whole"), weights_of(tmp_path / "two")
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert log_of(tmp_path / "two") == log_of(tmp_path / "whole")


def test_a_few_shot_head_on_other_features_has_no_prior(tmp_path: Path) -> None:
    settings = quick("few-shot-quick", epochs=1)
    explainer = train(
        tiny_cnn(), noise_photos(9), tmp_path / "out", settings, features_from=tiny_vit()
    )
    assert explainer.head.settings.parts == ("embedding", "gate")
    assert explainer.method == "few_shot"


def test_what_cannot_be_is_said_before_the_training(tmp_path: Path) -> None:
    photos = noise_photos(9)
    with pytest.raises(TrainingError, match="p-tame without another network.*features_from="):
        train(tiny_cnn(), photos, tmp_path / "out", SETTINGS)
    with pytest.raises(ExplainerError, match="scores of tiny vit do not depend.*l-cam-img"):
        train(tiny_vit(), photos, tmp_path / "out", quick("l-cam-fm"), features_from=tiny_cnn())
    assert not (tmp_path / "out").exists()


def test_a_learning_rate_is_looked_for_on_other_features() -> None:
    found = find_learning_rate(
        tiny_vit(), noise_photos(9), SETTINGS, features_from=tiny_cnn(), steps=3, progress=False
    )
    assert len(found.losses) == 3
