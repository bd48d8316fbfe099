"""Batches whose answers can be worked out by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from ttame.images.preprocessing import Preprocessing
from ttame.metrics.measuring_batch import Explain, MeasuringBatch


def plain(height: int, width: int) -> Preprocessing:
    """Pixels go into the network as they are."""
    return Preprocessing((height, width), (height, width), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def brightness(images: Tensor) -> Tensor:
    """Class 0 is as probable as the image is bright, class 1 as it is dark."""
    bright = images.mean(dim=(1, 2, 3))
    return torch.stack([bright, 1 - bright], dim=1)


def own_picture(images: Tensor, classes: Tensor) -> Tensor:
    """An explainer: the picture itself for class 0, its negative for class 1."""
    signs = 1.0 - 2.0 * classes
    return images.mean(dim=1) * signs[:, None, None]


def batch_of(
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    explain: Explain = own_picture,
    targets: Tensor | None = None,
    numbers: tuple[int, ...] | None = None,
) -> MeasuringBatch:
    return MeasuringBatch(
        probabilities=brightness,
        images=images,
        maps=maps,
        classes=classes,
        preprocessing=plain(int(images.shape[2]), int(images.shape[3])),
        explain=explain,
        numbers=numbers or tuple(range(len(images))),
        targets=targets,
    )


def grey(*values: float) -> Tensor:
    """One image of one row."""
    return torch.tensor(values).expand(1, 3, 1, len(values)).clone()


def one(*rows: list[float]) -> Tensor:
    """A batch of one map, (1, H, W), from its rows."""
    return torch.tensor([rows], dtype=torch.float32)


def where(*rows: list[int]) -> Tensor:
    """A batch of one mask, (1, H, W), from rows of zeros and ones."""
    return torch.tensor([rows], dtype=torch.bool)
