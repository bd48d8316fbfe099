"""The photos of a batch as an evaluation takes them: images, explained classes and targets."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from ttame.errors import EvaluationError, ImageError
from ttame.evaluation.measuring import Measuring


@dataclasses.dataclass(frozen=True, eq=False)
class ReadImages:
    """What could be read of a batch of photos.

    Attributes:
        numbers: the numbers of the photos that could be read.
        images: (B, C, H, W) those, prepared, on the classifier's device; B may be 0.
        photos: those as they were read, if targets are asked for; photos are large.
        skipped: name and reason of the others.
    """

    numbers: tuple[int, ...]
    images: Tensor
    photos: tuple[Image.Image, ...]
    skipped: tuple[tuple[str, str], ...]


def readable_images(measuring: Measuring, numbers: Sequence[int]) -> ReadImages:
    """Read and prepare those photos that can be read."""
    preprocessing = measuring.classifier.preprocessing
    found: list[int] = []
    images: list[Tensor] = []
    photos: list[Image.Image] = []
    skipped: list[tuple[str, str]] = []
    for number in numbers:
        try:
            photo = measuring.photos.read(number)
            image = preprocessing.prepare(photo)
        except ImageError as problem:
            skipped.append((measuring.photos.name(number), problem.problem))
            continue
        found.append(number)
        images.append(image)
        if measuring.targets is not None:
            photos.append(preprocessing.drawn(photo))
    together = torch.stack(images) if images else measuring.classifier.blank_image()[:0].float()
    together = together.to(measuring.classifier.device)
    return ReadImages(tuple(found), together, tuple(photos), tuple(skipped))


def explained_classes(measuring: Measuring, numbers: Sequence[int], before: Tensor) -> Tensor:
    """(B,) the class that is explained of each image."""
    if measuring.protocol.explained_class == "top-1":
        return before.argmax(dim=1)
    count = before.shape[1]
    classes = []
    for number in numbers:
        label = measuring.photos.label(number)
        if label is None or not 0 <= label < count:
            raise EvaluationError(
                f"{measuring.photos.name(number)} has "
                + ("no label" if label is None else f"label {label}")
                + f", and protocol {measuring.protocol.name} explains the labelled class",
                allowed=f"0 to {count - 1}",
                remedy="a list file of 'path label' lines",
            )
        classes.append(label)
    return torch.tensor(classes, device=before.device)


def annotated_targets(measuring: Measuring, read: ReadImages, classes: Tensor) -> Tensor | None:
    """(B, H, W) bool, where the explained objects are; ``None`` if the data are not annotated."""
    if measuring.targets is None:
        return None
    size = measuring.classifier.preprocessing.input_size
    found = []
    for number, photo, index in zip(read.numbers, read.photos, classes.tolist(), strict=True):
        target = measuring.targets(measuring.photos.key(number), index, photo)
        found.append(torch.zeros(size, dtype=torch.bool) if target is None else target)
    return torch.stack(found).to(classes.device)
