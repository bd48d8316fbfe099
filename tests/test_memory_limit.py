from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ttame.classifiers.known_classifiers import load_classifier
from ttame.datasets.mask_images import read_mask
from ttame.datasets.open_photos import open_photos
from ttame.errors import ImageError, MemoryLimitError, OutputError, WeightsError
from ttame.evaluation.evaluate_methods import evaluate
from ttame.explainers.known_explainers import make_explainer
from ttame.features.tap_influence import tap_influence
from ttame.memory_limit import naming_the_setting, ran_out_of_memory
from ttame.networks.last_operation import last_operation
from ttame.networks.weights_files import read_network_weights
from ttame.reporting.explain import explain
from ttame.testing import tiny_classifier
from ttame.training.train_explainer import train_explainer
from ttame.training.training_settings import training_settings


def caught(work: object) -> BaseException:
    try:
        work()  # type: ignore[operator]
    except Exception as problem:
        return problem
    raise AssertionError("nothing was raised")


def translated() -> None:
    try:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")
    except OSError as problem:
        raise OutputError("cannot write it") from problem


@pytest.mark.parametrize(
    "problem",
    [
        MemoryError(),
        torch.OutOfMemoryError("no more"),
        caught(lambda: np.empty(10**17)),
        caught(lambda: torch.empty(10**17, dtype=torch.uint8)),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        OSError("out of memory when reading image file"),
        RuntimeError("unable to mmap 80 bytes from file </torch_1>: Cannot allocate memory (12)"),
        RuntimeError("can't start new thread"),
        RuntimeError("could not create a primitive"),
        RuntimeError("DataLoader worker (pid 5) is killed by signal: Killed. "),
        ImportError("libx.so: failed to map segment from shared object"),
        caught(translated),
    ],
    ids=repr,
)
def test_every_library_says_it_in_its_own_way(problem: Exception) -> None:
    assert ran_out_of_memory(problem)
    said = pytest.raises(MemoryLimitError, match="not enough memory; try: less")
    with said, naming_the_setting("less"):
        raise problem


@pytest.mark.parametrize(
    "problem",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        OSError(errno.ENOSPC, "No space left on device"),
        KeyError("out of memory"),
        ImageError("photo.png is not a readable image"),
    ],
    ids=repr,
)
def test_other_errors_stay_what_they_are(problem: Exception) -> None:
    with pytest.raises(type(problem)) as found, naming_the_setting("less"):
        raise problem
    assert found.value is problem


def test_what_is_nearer_to_the_trouble_advises() -> None:
    said = pytest.raises(MemoryLimitError, match="try: fewer")
    with said, naming_the_setting("less"), naming_the_setting("fewer"):
        raise MemoryError


NO_MEMORY = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9")


def fail(*_: object, **__: object) -> None:
    raise NO_MEMORY


def load(tmp_path: Path) -> object:
    return load_classifier("timm/test_resnet", "none", image_size=32)


def train(tmp_path: Path) -> object:
    photos = list(torch.randint(256, (6, 3, 32, 32), dtype=torch.uint8))
    settings = training_settings("few-shot-quick", epochs=1, batch_size=2, workers=0)
    return train_explainer(tiny_classifier(size=32), photos, tmp_path / "out", settings)


def compare(tmp_path: Path) -> object:
    classifier = tiny_classifier(size=32)
    photos = list(torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8))
    methods = {"random": make_explainer("random", classifier)}
    return evaluate(classifier, photos, methods, tmp_path / "out", metrics=["average_drop"])


def explain_all(tmp_path: Path) -> object:
    photos = list(torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8))
    return explain(photos, make_explainer("random", tiny_classifier(size=32)), tmp_path / "out")


@pytest.mark.parametrize(
    ("work", "place", "remedy"),
    [
        (load, "timm.create_model", "a smaller network"),
        (load, "torch.nn.functional.conv2d", "a smaller network"),
        (
            train,
            "ttame.training.train_explainer.batch_loss",
            "a smaller batch_size, a larger gradient",
        ),
        (train, "ttame.training.run_preparation.new_attention_explainer", "a smaller batch_size"),
        (train, "ttame.training.training_run.save_checkpoint", "a smaller batch_size"),
        (compare, "ttame.images.preprocessing.Preprocessing.prepare", "a smaller batch_size"),
        (compare, "ttame.evaluation.kept_maps.write_tensors", "a smaller batch_size"),
        (compare, "ttame.evaluation.row_store.RowStore.join", "a smaller batch_size"),
        (explain_all, "ttame.images.preprocessing.Preprocessing.prepare", "a smaller batch_size"),
        (explain_all, "ttame.reporting.photo_files.draw_panel", "a smaller batch_size"),
        (explain_all, "ttame.reporting.growing_report.write_contents", "a smaller batch_size"),
    ],
)
def test_wherever_memory_runs_out_the_setting_is_named(
    work: Callable[[Path], object],
    place: str,
    remedy: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(place, fail)
    with pytest.raises(MemoryLimitError, match="not enough memory; try: ") as found:
        work(tmp_path)
    assert found.value.remedy.startswith(remedy)
    assert "input_size" not in str(found.value)


def test_a_shortage_is_not_taken_for_a_damaged_file_or_another_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image
    from torch.utils.data import Dataset

    class Photos(Dataset[object]):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> object:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")

    Image.new("L", (4, 4)).save(tmp_path / "mask.png")
    torch.save({"weight": torch.ones(1)}, tmp_path / "weights.pth")
    with pytest.raises(OSError, match="Cannot allocate"):
        open_photos(Photos()).read(0)
    with monkeypatch.context() as failing:
        failing.setattr("ttame.datasets.mask_images.np.array", fail)
        with pytest.raises(RuntimeError, match="allocate"):
            read_mask(tmp_path / "mask.png")
        failing.setattr("torch.load", fail)
        with pytest.raises(WeightsError, match="does not fit into memory"):
            read_network_weights(tmp_path / "weights.pth")
    classifier = tiny_classifier(size=32)
    monkeypatch.setattr("torch.nn.functional.conv2d", fail)
    with pytest.raises(RuntimeError, match="allocate"):
        last_operation(classifier.network, (32, 32))
    with pytest.raises((RuntimeError, MemoryLimitError), match="memory"):
        tap_influence(classifier.network, classifier.trace, classifier.taps)
