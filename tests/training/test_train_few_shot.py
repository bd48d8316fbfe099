"""Training the few-shot head: it learns on every kind of network, and goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

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
from ttame.errors import ResumeError
from ttame.explainers.attention.explainer_folder import load_explainer
from ttame.explainers.attention.shared_head import SharedHead
from ttame.preprocessing import Preprocessing
from ttame.training.checkpoint import RunIdentity
from ttame.training.learning_rate_test import find_learning_rate
from ttame.training.training_progress import TrainingProgress
from ttame.training.training_settings import training_settings

PHOTOS = 23
SETTINGS = quick("few-shot", learning_rate=0.02, epochs=3, checkpoint_every=2)


def tiny_mlp_end() -> Classifier:
    """Two linear layers on all places, as in VGG: nothing is pooled."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(128, 8), nn.ReLU(), nn.Linear(8, 5),
    )  # fmt: skip
    with torch.no_grad():
        network[-1].weight.mul_(20)
    return Classifier(network, preprocessing=Preprocessing.imagenet(16), name="tiny mlp")


NETWORKS: dict[str, Callable[[], Classifier]] = {
    "cnn": tiny_cnn,
    "vit": tiny_vit,
    "no linear end": tiny_mlp_end,
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_short_training_lowers_the_loss(kind: str, tmp_path: Path) -> None:
    classifier = NETWORKS[kind]()
    settings = quick("few-shot", learning_rate=0.02, epochs=6, augmentation="none")
    explainer = train(classifier, noise_photos(PHOTOS), tmp_path / "out", settings)
    losses = [line["loss"] for line in log_of(tmp_path / "out") if "loss" in line]
    assert sum(losses[-5:]) < 0.97 * sum(losses[:5])
    assert explainer.method == "few_shot"
    assert explainer.head.settings.prior == (kind != "no linear end")

    again = load_explainer(tmp_path / "out", classifier=NETWORKS[kind]())
    images = torch.stack([classifier.prepare(photo)[0] for photo in noise_photos(2)])
    assert torch.equal(again(images, "all").maps, explainer(images, "all").maps)
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert ("without prior" in card) == (kind == "no linear end")
    assert "--preset few-shot" in card


class StoppedError(Exception):
    """What ends a run in the middle."""


def test_an_interrupted_run_is_resumed_bit_for_bit(tmp_path: Path) -> None:
    """AdamW's state and the extra tap are in the checkpoint."""

    def stop(progress: TrainingProgress) -> None:
        if progress.step == 7:
            raise StoppedError

    photos = noise_photos(PHOTOS)
    train(tiny_vit(), photos, tmp_path / "whole", SETTINGS)
    with pytest.raises(StoppedError):
        train(tiny_vit(), photos, tmp_path / "two", SETTINGS, watch=stop)
    train(tiny_vit(), photos, tmp_path / "two", SETTINGS, resume=True)
    expected = weights_of(tmp_path / "whole")
    found = weights_of(tmp_path / "two")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert log_of(tmp_path / "two") == log_of(tmp_path / "whole")


@pytest.mark.parametrize("part", ["prior", "embedding", "gate"])
def test_a_head_without_a_part_is_trained_and_saved(part: str, tmp_path: Path) -> None:
    settings = quick("few-shot", epochs=1, without=part)
    explainer = train(tiny_cnn(), noise_photos(PHOTOS), tmp_path / "out", settings)
    assert isinstance(explainer.head, SharedHead)
    assert part not in explainer.head.settings.parts
    assert len(explainer.head.settings.parts) == 2
    saved = json.loads((tmp_path / "out" / "config.json").read_text())["head"]["few_shot"]
    assert saved[part] is False
    assert f"--without {part}" in explainer.training_record["command"]


def test_figures_are_those_of_the_maps_that_explanations_hold(tmp_path: Path) -> None:
    """A min-maxed sigmoid is another mask than a min-maxed raw map."""
    means = {}
    for maps in ("raw", "sigmoid"):
        settings = quick("few-shot", epochs=1, maps=maps)
        explainer = train(tiny_cnn(), noise_photos(PHOTOS), tmp_path / maps, settings)
        (figures,) = explainer.training_record["validation"]
        means[maps] = (figures["loss"], figures["mean_map_value"])
    assert means["raw"][0] == means["sigmoid"][0]
    assert abs(means["raw"][1] - means["sigmoid"][1]) > 1e-3


def test_the_range_test_trains_with_adamw_too() -> None:
    found = find_learning_rate(tiny_cnn(), noise_photos(PHOTOS), SETTINGS, steps=4, highest=1e-2)
    assert len(found.rates) == 4


def identity(**changes: object) -> RunIdentity:
    settings = {**training_settings().as_json(), **changes}
    return RunIdentity(settings, data="d", classifier="c", taps=("a",))


def test_settings_that_older_checkpoints_lack_had_their_default() -> None:
    older = identity()
    settings = {
        name: value
        for name, value in older.settings.items()
        if name not in ("optimiser", "maps", "without")
    }
    older = RunIdentity(settings, data="d", classifier="c", taps=("a",))
    identity().refuse_other(older)
    with pytest.raises(ResumeError, match="optimiser was 'sgd', now 'adamw'"):
        identity(optimiser="adamw").refuse_other(older)
