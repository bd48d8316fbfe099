"""Networks and photos small enough to train on in a moment, and real processes to train in."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import traceback
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor, nn

from benchmarks.reliability import forked_commands
from ttame.classifiers.classifier import Classifier
from ttame.images.preprocessing import Preprocessing
from ttame.training import learning_rate_test, train_explainer
from ttame.training.training_settings import TrainingSettings, training_settings

assert Accelerator  # Imported for the fork server, as torch and timm are: once for all children.
assert learning_rate_test

_FORKS = multiprocessing.get_context("forkserver")
# A process has a single fork server: it knows what the commands of other tests need, too.
assert forked_commands  # Imported first, as it names what the server imports, too.
_FORKS.set_forkserver_preload(
    ["benchmarks.reliability.imported_once", "tests.training.training_material"]
)


def tiny_cnn(seed: int = 0) -> Classifier:
    """Three convolutions for 16×16 photos, five classes, different predictions."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, 1, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )
    with torch.no_grad():
        network[-1].weight.mul_(20)
        network[-1].bias.copy_(-network.eval()(_mean_image())[0] + network[-1].bias)
    return Classifier(network, preprocessing=Preprocessing.imagenet(16), name="tiny")


def tiny_vit() -> Classifier:
    """A two-block Vision Transformer for 16×16 photos, with a class token."""
    torch.manual_seed(0)
    network = timm.models.VisionTransformer(
        img_size=16, patch_size=4, embed_dim=12, depth=2, num_heads=2, num_classes=5
    )
    with torch.no_grad():
        network.head.weight.mul_(100)
    return Classifier(network, preprocessing=Preprocessing.imagenet(16), name="tiny vit")


def _mean_image() -> Tensor:
    photos = [Preprocessing.imagenet(16).prepare(photo) for photo in noise_photos(30)]
    return torch.stack(photos).mean(dim=0, keepdim=True)


def noise_photos(count: int, seed: int = 0) -> list[Image.Image]:
    """Blurred noise in different colours, 20×18 pixels."""
    random = np.random.default_rng(seed)
    photos = []
    for _ in range(count):
        pixels = random.integers(0, 256, (4, 5, 3)) * random.uniform(0.3, 1, 3)
        photos.append(Image.fromarray(pixels.astype(np.uint8)).resize((20, 18)))
    return photos


def photo_folder(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number, photo in enumerate(noise_photos(count)):
        photo.save(folder / f"{number:03}.png")
    return folder


def quick(preset: str = "t-tame", **changes: Any) -> TrainingSettings:
    """Settings for a handful of steps of four images, all in this process."""
    few = {"epochs": 2, "batch_size": 4, "workers": 0, "learning_rate": 0.05}
    return training_settings(preset, **{**few, **changes})


def weights_of(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "explainer.safetensors")


def log_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]


def start_process(function: Callable[..., Any], *arguments: Any) -> ForkServerProcess:
    """Run a module-level function in a process of its own."""
    process = _FORKS.Process(target=function, args=arguments, daemon=False)
    process.start()
    return process


def event() -> Any:
    """A flag that processes share."""
    return _FORKS.Event()


def in_two_processes(
    function: Callable[..., Any], *arguments: Any, seconds: float = 60
) -> list[Any]:
    """Call a function in two processes that know of each other, as ``accelerate launch`` does it.

    Returns:
        What each one returned, or the exception that ended it, first process first.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes, ends = [], []
    for rank in range(2):
        here, there = _FORKS.Pipe()
        processes.append(start_process(_as_rank, function, arguments, rank, port, there))
        ends.append(here)
    results = []
    try:
        for rank, end in enumerate(ends):
            assert end.poll(seconds), f"process {rank} hangs"
            results.append(end.recv())
        for process in processes:
            process.join(seconds)
            assert process.exitcode is not None
    finally:
        for process in processes:
            process.kill()
            process.join()
    return results


def _as_rank(
    function: Callable[..., Any], arguments: Any, rank: int, port: int, end: Connection
) -> None:
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE="2",
        LOCAL_WORLD_SIZE="2",
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        ACCELERATE_USE_CPU="true",
        OMP_NUM_THREADS="1",
    )
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    try:
        end.send(function(*arguments))
    except BaseException as problem:
        traceback.print_exc()
        end.send(problem)


def train(*arguments: Any, **options: Any) -> Any:
    return train_explainer.train_explainer(*arguments, **options)
