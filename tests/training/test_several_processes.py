"""Two real CPU processes against one with the same global batch."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from PIL import Image

from tests.conftest import assert_close
from tests.training.training_material import (
    in_two_processes,
    log_of,
    noise_photos,
    photo_folder,
    quick,
    tiny_cnn,
    train,
    weights_of,
)
from ttame.datasets.wrapped_dataset import WrappedDataset
from ttame.errors import DatasetError, OutputError, TrainingError
from ttame.training.training_settings import TrainingSettings

PHOTOS = 23
SETTINGS = {
    "random": quick(),
    "diagonal": quick(map_selection="diagonal"),
    "max": quick(map_selection="max", head="no-skip-no-batch-norm"),
    "accumulated": quick(gradient_accumulation=2),
    "tame": quick("tame"),
    "few-shot": quick("few-shot-quick", learning_rate=0.01, epochs=1),
    "few-shot, accumulated": quick(
        "few-shot-quick", learning_rate=0.01, epochs=1, gradient_accumulation=2
    ),
    "few-shot, random masks": quick("few-shot", learning_rate=0.01, epochs=1, random_masks=5),
    "few-shot, t-tame": quick(
        "few-shot-quick", learning_rate=0.01, objective="t-tame", maps="sigmoid"
    ),
}


ROUNDED = ("few-shot, random masks",)
"""Without an embedding, all below the gate, which starts at zero, has gradients that begin as
rounding. AdamW makes whole steps of them, in either direction on different processors. Single
weights say nothing then; together they are 0.7 % off at most."""


def offsets(settings: TrainingSettings) -> set[str]:
    """Weights that add a number to whole maps, of which a min-max map has nothing.

    Their gradients are rounding alone.
    """
    if settings.head.maps.kind != "min-max":
        return set()
    # Where no embedding reads what surrounds a place, only the gate does, which is linear.
    alone = set() if "embedding" in settings.head.parts else {"surroundings.pointwise.bias"}
    return {"prior_norm.bias", *alone}


def train_all(folder: Path) -> int:
    """Train once for each of the settings; return how many log files this process opened."""
    for name, settings in SETTINGS.items():
        explainer = train(tiny_cnn(), noise_photos(PHOTOS), folder / name, settings)
    dist.barrier()
    assert explainer.training_record["processes"] == dist.get_world_size() == 2
    return dist.get_rank()


def test_two_processes_train_the_head_of_one(tmp_path: Path) -> None:
    assert in_two_processes(train_all, tmp_path / "two", seconds=240) == [0, 1]
    for name, settings in SETTINGS.items():
        train(tiny_cnn(), noise_photos(PHOTOS), tmp_path / "one" / name, settings)
        one, two = tmp_path / "one" / name, tmp_path / "two" / name
        expected = weights_of(one)
        # AdamW divides by a gradient's own size, and so moves by the rounding of small ones.
        tolerance = 2e-4 if settings.optimiser.kind == "adamw" else 2e-5
        for key, weight in weights_of(two).items():
            if key in offsets(settings):
                continue
            if name in ROUNDED and weight.is_floating_point():
                off = float((weight - expected[key]).norm() / expected[key].norm())
                assert off < 0.02, f"{key}: {off:.1%} of its norm"
                continue
            assert_close(weight, expected[key], tolerance)
        lines, expected_lines = log_of(two), log_of(one)
        assert [line["step"] for line in lines] == [line["step"] for line in expected_lines]
        for line, expected_line in zip(lines, expected_lines, strict=True):
            if "validation" in line:
                assert line["validation"] == pytest.approx(expected_line["validation"], rel=1e-4)
            else:
                assert line["loss"] == pytest.approx(expected_line["loss"], rel=1e-5, abs=1e-6)


class BadFrom(WrappedDataset):
    """Photos that one process cannot read any more from its ``good``-th read on."""

    def __init__(self, good: int, bad_rank: int) -> None:
        super().__init__(noise_photos(PHOTOS))
        self.good, self.bad_rank = good, bad_rank

    def read(self, index: int) -> Image.Image:
        self.good -= 1
        if self.good < 0 and dist.get_rank() == self.bad_rank:
            raise DatasetError("the disk with the photos has gone")
        return super().read(index)


def train_with_bad_data(folder: Path, good: int, bad_rank: int) -> None:
    train(tiny_cnn(), BadFrom(good, bad_rank), folder, quick())


def train_in(folder: Path, settings: TrainingSettings, photos: int = PHOTOS) -> None:
    train(tiny_cnn(), noise_photos(photos), folder, settings)


def failures(function: Any, *arguments: Any) -> list[Any]:
    return in_two_processes(function, *arguments, seconds=30)


def test_an_output_folder_that_exists_is_refused_in_both_processes(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    problems = failures(train_in, tmp_path, quick())
    assert [type(problem) for problem in problems] == [OutputError, OutputError]
    assert str(problems[0]) == str(problems[1])
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_data_that_one_process_cannot_read_stops_both(tmp_path: Path) -> None:
    problems = failures(train_with_bad_data, tmp_path / "out", 0, 1)
    assert [type(problem) for problem in problems] == [DatasetError, DatasetError]
    assert "the disk" in str(problems[0])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("bad_rank", [0, 1])
def test_data_that_goes_away_in_the_middle_hangs_nobody(tmp_path: Path, bad_rank: int) -> None:
    problems = failures(train_with_bad_data, tmp_path / "out", 8, bad_rank)
    assert isinstance(problems[bad_rank], DatasetError)
    assert isinstance(problems[1 - bad_rank], Exception)


def test_a_full_disk_at_the_end_stops_both(tmp_path: Path) -> None:
    problems = failures(train_on_a_full_disk, tmp_path / "out")
    assert [type(problem) for problem in problems] == [OutputError, OutputError]


def train_on_a_full_disk(folder: Path) -> None:
    from ttame.explainers.trained.attention_explainer import AttentionExplainer

    def write(*_: Any) -> None:
        raise OutputError("the disk is full")

    AttentionExplainer.write_files = write  # type: ignore[method-assign]
    train_in(folder, quick(epochs=1))


def test_a_batch_that_two_processes_cannot_share_is_refused(tmp_path: Path) -> None:
    problems = failures(train_in, tmp_path / "out", quick(batch_size=5))
    assert [type(problem) for problem in problems] == [TrainingError, TrainingError]
    assert "multiple of 2" in str(problems[0])
    assert not (tmp_path / "out").exists()


class SlowToValidate(WrappedDataset):
    """Names a bad photo for each process."""

    def read(self, index: int) -> Image.Image:
        if index in (3, 7, 12):
            from ttame.errors import ImageError

            raise ImageError(f"{self.name(index)} is torn")
        return super().read(index)


def train_with_torn_photos(folder: Path) -> dict[str, str]:
    explainer = train(tiny_cnn(), SlowToValidate(noise_photos(PHOTOS)), folder, quick())
    return dict(explainer.training_record["skipped_images"])


def test_both_processes_name_the_unreadable_photos_of_both(tmp_path: Path) -> None:
    first, second = in_two_processes(train_with_torn_photos, tmp_path / "out")
    assert first == second
    assert list(first) == ["item 12 of list", "item 3 of list", "item 7 of list"]
    assert set(first.values()) == {"is torn"}


SCRIPT = """
import sys
import torch
torch.set_num_threads(1)
from tests.training.training_material import quick, tiny_cnn
from ttame.training.train_explainer import train_explainer
train_explainer(tiny_cnn(), sys.argv[1], sys.argv[2], quick(epochs=1))
"""

LAUNCH = (
    # Not --cpu, with which Accelerate starts a single process if there is no MPI.
    "--multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no "
    "--num_cpu_threads_per_process 1 --main_process_port 0"
)


def run_as_launched(words: list[str]) -> list[tuple[str, str]]:
    """Launch a script in a process that goes on as one of those which it would start."""
    import torch.distributed.run as torch_launcher
    from accelerate.commands import launch

    told = []

    def go_on(args: Any) -> None:
        told.append((args.nproc_per_node, os.environ["ACCELERATE_MIXED_PRECISION"]))
        sys.argv = [args.training_script, *args.training_script_args]
        runpy.run_path(args.training_script, run_name="__main__")

    torch_launcher.run = go_on
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    del os.environ["ACCELERATE_USE_CPU"]  # ttame has to find that out alone.
    args = launch.launch_command_parser().parse_args(words)
    launch.launch_command(args)
    return told


def test_accelerate_launch_trains_in_two_processes(tmp_path: Path) -> None:
    """In two forks: that torch's launcher starts processes is seen in the tests of documentation,

    where each of them imports torch anew; Accelerate calls the same one.
    """
    script, photos = tmp_path / "train.py", photo_folder(tmp_path / "photos", PHOTOS)
    script.write_text(SCRIPT)
    words = [*LAUNCH.split(), str(script), str(photos), str(tmp_path / "two")]
    assert in_two_processes(run_as_launched, words) == 2 * [[("2", "no")]]
    torch.set_num_threads(1)
    explainer = train(tiny_cnn(), photos, tmp_path / "one", quick(epochs=1))
    assert explainer.training_record["processes"] == 1
    expected = weights_of(tmp_path / "one")
    for key, weight in weights_of(tmp_path / "two").items():
        assert_close(weight, expected[key], 2e-5)
    card = (tmp_path / "two" / "README.md").read_text()
    assert "on 2 process(es)" in card


def count_files_written(folder: Path) -> int:
    written = []
    replace = os.replace

    def note(source: Any, target: Any) -> None:
        written.append(target)
        replace(source, target)

    os.replace = note
    train_in(folder, quick(checkpoint_every=2))
    return len(written)


def test_only_the_main_process_writes(tmp_path: Path) -> None:
    main, other = in_two_processes(count_files_written, tmp_path / "out")
    assert main > 4  # log, checkpoints, weights, card, config
    assert other == 0
