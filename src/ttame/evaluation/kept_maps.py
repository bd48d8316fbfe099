"""The small maps that an evaluation keeps for its pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ttame.errors import ANOTHER_FOLDER, EvaluationError
from ttame.evaluation.row_store import folder_name
from ttame.files.atomic_writing import write_tensors
from ttame.files.bounded_reading import UnreadableFileError
from ttame.files.tensor_files import read_tensors
from ttame.images.saliency_maps import to_unit_range

LARGEST_KEPT_MAP = 56
"""Side of the maps that are kept for pictures."""

MOST_PICTURED = 10_000
"""Images whose maps are kept; of more, so many and evenly spread."""


def keep_maps(folder: Path, label: str, batch: int, numbers: Sequence[int], maps: Tensor) -> None:
    """Small maps, for the pictures of the report: what speaks for the class, averaged over places
    where maps are of pixels."""
    heights = maps.float()
    if max(heights.shape[-2:]) > LARGEST_KEPT_MAP:
        ratio = LARGEST_KEPT_MAP / max(heights.shape[-2:])
        height, width = (max(1, round(length * ratio)) for length in heights.shape[-2:])
        heights = F.adaptive_avg_pool2d(heights[:, None], (height, width))[:, 0]
    heights = to_unit_range(heights)
    target = folder / "maps" / folder_name(label) / f"{batch:06d}.safetensors"
    target.parent.mkdir(parents=True, exist_ok=True)
    kept = {"maps": heights.half(), "images": torch.tensor(list(numbers))}
    # A run removes in the beginning what others left.
    write_tensors(target, kept, swept=True)


def pictured_images(folder: Path, label: str) -> set[int]:
    """The numbers of the images whose small maps were kept.

    Raises:
        EvaluationError: a file of maps is damaged.
    """
    paths = sorted((folder / "maps" / folder_name(label)).glob("*.safetensors"))
    return {number for path in paths for number in _kept(path)[0]}


def kept_maps(folder: Path, label: str, numbers: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """The small maps of some images: number of the image and (h, w) float in [0, 1].

    Raises:
        EvaluationError: a file of maps is damaged.
    """
    wanted = set(numbers)
    for path in sorted((folder / "maps" / folder_name(label)).glob("*.safetensors")):
        for number, heights in zip(*_kept(path), strict=True):
            if number in wanted:
                yield number, heights.float().numpy()


def _kept(path: Path) -> tuple[list[int], Tensor]:
    """Numbers of images, and (n, h, w) maps."""
    try:
        tensors, _ = read_tensors(path)
        if not {"images", "maps"} <= tensors.keys():
            raise UnreadableFileError("no images or no maps")
        images, maps = tensors["images"], tensors["maps"]
        shapes = images.shape == maps.shape[:1] and maps.ndim == 3
        if not shapes or images.dtype != torch.int64 or maps.dtype != torch.float16:
            raise UnreadableFileError(f"images {tuple(images.shape)}, maps {tuple(maps.shape)}")
        if not bool(((maps >= 0) & (maps <= 1)).all()):
            raise UnreadableFileError("maps beyond 0 and 1")
    except UnreadableFileError as problem:
        raise EvaluationError(f"{path} is damaged ({problem})", remedy=ANOTHER_FOLDER) from problem
    return images.tolist(), maps
