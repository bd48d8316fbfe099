"""Runs killed with SIGKILL and resumed end with the weights of an undisturbed run."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.training_material import (
    event,
    log_of,
    noise_photos,
    photo_folder,
    quick,
    start_process,
    tiny_cnn,
    train,
    weights_of,
)
from ttame.classifiers.classifier import Classifier
from ttame.errors import OutputError, ResumeError
from ttame.explainers.trained.explainer_folder import load_explainer
from ttame.images.preprocessing import Preprocessing
from ttame.training.training_progress import TrainingProgress

PHOTOS = 26
STEPS_PER_EPOCH = 5  # 23 photos, 3 of them held out, in batches of 4
SETTINGS = quick(
    epochs=3, checkpoint_every=2, gradient_accumulation=2, augmentation="random crop and flip"
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of which one is torn, so that skipping is resumed as well."""
    folder = photo_folder(tmp_path_factory.mktemp("data") / "photos", PHOTOS)
    (folder / "007.png").write_bytes(b"no photo")
    return folder


@pytest.fixture(scope="module")
def undisturbed(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("undisturbed") / "out"
    train(tiny_cnn(), photos, folder, SETTINGS)
    steps = [line["step"] for line in log_of(folder) if "loss" in line]
    assert steps == list(range(1, 1 + 3 * STEPS_PER_EPOCH))
    return folder


def train_until(photos: Path, folder: Path, last_step: int, reached: Any) -> None:
    """Train in a process of its own, and wait there for death after a step."""
    os.environ["ACCELERATE_USE_CPU"] = "true"
    torch.set_num_threads(1)

    def wait_for_death(progress: TrainingProgress) -> None:
        if progress.step == last_step:
            reached.set()
            time.sleep(60)

    train(tiny_cnn(), photos, folder, SETTINGS, watch=wait_for_death)


def train_until_finished(photos: Path, folder: Path, _: int, reached: Any) -> None:
    """Train, and wait for death when only the explainer is left to be written."""
    from ttame.explainers.trained.attention_explainer import AttentionExplainer

    def wait_for_death(*_: Any) -> None:
        reached.set()
        time.sleep(60)

    AttentionExplainer.write_files = wait_for_death  # type: ignore[method-assign]
    train_until(photos, folder, -1, reached)


def killed(function: Any, photos: Path, folder: Path, last_step: int = -1) -> None:
    reached = event()
    process = start_process(function, photos, folder, last_step, reached)
    try:
        assert reached.wait(60)
    finally:
        process.kill()  # SIGKILL
        process.join()
    assert process.exitcode == -signal.SIGKILL


def assert_same_run(folder: Path, undisturbed: Path) -> None:
    expected = weights_of(undisturbed)
    found = weights_of(folder)
    assert found.keys() == expected.keys()
    for name, weight in found.items():
        assert torch.equal(weight, expected[name]), name
    assert log_of(folder) == log_of(undisturbed)
    records = [json.loads((place / "config.json").read_text()) for place in (folder, undisturbed)]
    for record in records:
        record["training"].pop("command")  # names the folder
    assert records[0] == records[1]
    left = {file.name for file in folder.iterdir()}
    assert left == {"config.json", "explainer.safetensors", "README.md", "training.jsonl"}


@pytest.mark.parametrize(
    ("last_step", "saved_step"),
    [(1, None), (3, 2), (STEPS_PER_EPOCH, STEPS_PER_EPOCH), (8, 8), (9, 8)],
    ids=["before the first checkpoint", "epoch 1", "end of epoch 1", "at a checkpoint", "epoch 2"],
)
def test_a_killed_run_is_resumed_bit_for_bit(
    tmp_path: Path, photos: Path, undisturbed: Path, last_step: int, saved_step: int | None
) -> None:
    folder = tmp_path / "out"
    killed(train_until, photos, folder, last_step)
    assert (folder / "checkpoint.safetensors").exists() == (saved_step is not None)
    assert not (folder / "config.json").exists()
    first_steps: list[int] = []
    train(
        tiny_cnn(),
        photos,
        folder,
        SETTINGS,
        resume=True,
        watch=lambda progress: first_steps.append(progress.step),
    )
    assert first_steps[0] == (saved_step or 0) + 1
    assert_same_run(folder, undisturbed)


def test_a_run_killed_at_any_moment_is_resumed(
    tmp_path: Path, photos: Path, undisturbed: Path
) -> None:
    folder = tmp_path / "out"
    for lines in (4, 9):
        process = start_process(resume_freely, photos, folder)
        deadline = time.monotonic() + 60
        while len(read_lines(folder)) < lines and time.monotonic() < deadline:
            time.sleep(0.002)
        process.kill()
        process.join()
    train(tiny_cnn(), photos, folder, SETTINGS, resume=True)
    assert_same_run(folder, undisturbed)


def resume_freely(photos: Path, folder: Path) -> None:
    os.environ["ACCELERATE_USE_CPU"] = "true"
    torch.set_num_threads(1)
    # Slowly enough for the killer to come in time, also on a busy machine.
    train(tiny_cnn(), photos, folder, SETTINGS, resume=True, watch=lambda _: time.sleep(0.05))
    time.sleep(60)


def read_lines(folder: Path) -> list[str]:
    file = folder / "training.jsonl"
    return file.read_text().splitlines() if file.exists() else []


def test_a_run_killed_before_it_wrote_the_explainer_is_finished(
    tmp_path: Path, photos: Path, undisturbed: Path
) -> None:
    folder = tmp_path / "out"
    killed(train_until_finished, photos, folder)
    assert (folder / "checkpoint.safetensors").exists()
    steps: list[Any] = []
    train(tiny_cnn(), photos, folder, SETTINGS, resume=True, watch=steps.append)
    assert steps == []
    assert_same_run(folder, undisturbed)
    assert load_explainer(folder, classifier=tiny_cnn()).head.number_of_classes == 5


def test_resuming_where_nothing_is_begins_anew(
    tmp_path: Path, photos: Path, undisturbed: Path
) -> None:
    train(tiny_cnn(), photos, tmp_path / "out", SETTINGS, resume=True)
    assert_same_run(tmp_path / "out", undisturbed)


class InterruptionError(Exception):
    pass


@pytest.fixture
def unfinished(tmp_path: Path) -> Path:
    """A run that was interrupted after its first checkpoint."""

    def interrupt(progress: TrainingProgress) -> None:
        if progress.step == 2:
            raise InterruptionError

    folder = tmp_path / "out"
    with pytest.raises(InterruptionError):
        train(tiny_cnn(), noise_photos(20), folder, quick(checkpoint_every=2), watch=interrupt)
    return folder


def resize(classifier: Classifier) -> Classifier:
    return Classifier(classifier.network, preprocessing=Preprocessing.imagenet(24), name="tiny")


def refusals() -> dict[str, tuple[Any, Any, Any, str]]:
    """What is different, with the classifier, photos and settings, and what is said."""
    same, photos, settings = tiny_cnn(), noise_photos(20), quick(checkpoint_every=2)
    return {
        "learning rate": (
            same,
            photos,
            quick(checkpoint_every=2, learning_rate=0.01),
            "learning_rate was 0.05, now 0.01",
        ),
        "preset": (same, photos, quick("tame", checkpoint_every=2), "preset was 't-tame'"),
        "images": (same, noise_photos(21), settings, "other images"),
        "weights": (tiny_cnn(seed=1), photos, settings, "a classifier with other weights"),
        "taps": (same.with_taps(["2", "4"]), photos, settings, "taps were"),
        "input size": (
            resize(same),
            photos,
            settings,
            r"input size was \[16, 16\], now \[24, 24\]",
        ),
    }


@pytest.mark.parametrize("difference", refusals())
def test_another_run_is_refused_with_the_difference(unfinished: Path, difference: str) -> None:
    classifier, photos, settings, message = refusals()[difference]
    before = {file: file.read_bytes() for file in unfinished.iterdir()}
    with pytest.raises(ResumeError, match=message):
        train(classifier, photos, unfinished, settings, resume=True)
    assert {file: file.read_bytes() for file in unfinished.iterdir()} == before


def test_how_often_to_save_may_change(unfinished: Path) -> None:
    train(tiny_cnn(), noise_photos(20), unfinished, quick(checkpoint_every=3), resume=True)
    assert (unfinished / "config.json").exists()


def test_an_unfinished_run_is_not_overwritten_by_chance(unfinished: Path) -> None:
    with pytest.raises(OutputError, match="resume=True"):
        train(tiny_cnn(), noise_photos(20), unfinished, quick())
    train(tiny_cnn(), noise_photos(20), unfinished, quick(epochs=1), overwrite=True)
    assert not (unfinished / "checkpoint.safetensors").exists()
    assert [line["step"] for line in log_of(unfinished)] == [1, 2, 3, 4, 4]


def test_a_complete_run_is_not_resumed(unfinished: Path) -> None:
    settings = quick(checkpoint_every=2)
    train(tiny_cnn(), noise_photos(20), unfinished, settings, resume=True)
    with pytest.raises(OutputError, match="is complete"):
        train(tiny_cnn(), noise_photos(20), unfinished, settings, resume=True)


def test_resuming_into_a_folder_of_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        train(tiny_cnn(), noise_photos(20), tmp_path, quick(), resume=True)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_half_written_files_are_removed(unfinished: Path) -> None:
    for name in ("checkpoint.safetensors", "training.jsonl", "explainer.safetensors"):
        (unfinished / f".{name}.ttame-0a1b2c3d.part").write_text("half")
    train(tiny_cnn(), noise_photos(20), unfinished, quick(checkpoint_every=2), resume=True)
    assert not list(unfinished.glob(".*"))


def test_a_broken_checkpoint_is_refused(unfinished: Path) -> None:
    file = unfinished / "checkpoint.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ResumeError, match="not a readable checkpoint.*overwrite=True"):
        train(tiny_cnn(), noise_photos(20), unfinished, quick(checkpoint_every=2), resume=True)
    train(tiny_cnn(), noise_photos(20), unfinished, quick(epochs=1), overwrite=True)
