"""Photos of batches to come, read by other processes while the network works."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ttame.datasets.photo_source import PhotoSource
from ttame.errors import ImageError, TtameError
from ttame.images.preprocessing import Preprocessing
from ttame.images.rgb_conversion import scaling_of

BATCHES_AHEAD = 2
"""Of each process that reads."""


@dataclasses.dataclass(frozen=True, eq=False)
class ReadBatch:
    """The photos of a batch as the network takes them; the photos themselves are not kept.

    Attributes:
        batch: its number.
        numbers: the numbers of the photos that could be read.
        images: (B, C, H, W) float32, of those; ``None`` if there are none.
        skipped: number of each other photo, and why it could not be read.
        notes: what the user should know of single photos.
    """

    batch: int
    numbers: tuple[int, ...]
    images: Tensor | None
    skipped: tuple[tuple[int, str], ...] = ()
    notes: tuple[str, ...] = ()

    def pin_memory(self) -> ReadBatch:
        """Copy the images to page-locked memory; ``DataLoader(pin_memory=True)`` calls this."""
        pinned = None if self.images is None else self.images.pin_memory()
        return dataclasses.replace(self, images=pinned)


class BatchesOfPhotos(Dataset["ReadBatch | TtameError"]):
    """The batches of a set of photos, by number, for a ``DataLoader``.

    Args:
        photos: the data.
        preprocessing: the classifier's own.
        batch_size: photos at a time.

    Example:
        >>> from PIL import Image
        >>> from ttame.datasets.wrapped_dataset import WrappedDataset
        >>> photos = WrappedDataset([Image.new("RGB", (40, 30)) for _ in range(5)])
        >>> batch = BatchesOfPhotos(photos, Preprocessing.imagenet(16), 2)[2]
        >>> batch.numbers, batch.images.shape
        ((4,), torch.Size([1, 3, 16, 16]))
    """

    def __init__(self, photos: PhotoSource, preprocessing: Preprocessing, batch_size: int) -> None:
        self._photos = photos
        self._preprocessing = preprocessing
        self._batch_size = batch_size

    def __getitem__(self, batch: int) -> ReadBatch | TtameError:
        """Read a batch; an error is returned, so that it comes out of a process as it was."""
        try:
            return self._read(batch)
        except TtameError as problem:
            return problem

    def _read(self, batch: int) -> ReadBatch:
        numbers: list[int] = []
        images: list[Tensor] = []
        skipped: list[tuple[int, str]] = []
        notes: list[str] = []
        first = batch * self._batch_size
        for number in range(first, min(first + self._batch_size, len(self._photos))):
            try:
                photo = self._photos.read(number)
                images.append(self._preprocessing.prepare(photo))
            except ImageError as problem:
                skipped.append((number, str(problem)))
                continue
            numbers.append(number)
            if isinstance(photo, Image.Image) and scaling_of(photo):
                notes.append(f"{self._photos.name(number)}: {scaling_of(photo)}")
        together = torch.stack(images) if images else None
        return ReadBatch(batch, tuple(numbers), together, tuple(skipped), tuple(notes))


def read_ahead(
    dataset: BatchesOfPhotos, batches: Iterable[int], *, workers: int, pinned: bool = False
) -> Iterator[ReadBatch]:
    """Read batches in their order.

    Args:
        dataset: the dataset of the photos.
        batches: their numbers.
        workers: processes that read, each two batches ahead; with 0, each is read when it is asked
            for.
        pinned: whether the images come in page-locked memory, for a GPU.

    Raises:
        DatasetError: the photos as a whole cannot be used.
    """
    loader: DataLoader[ReadBatch | TtameError] = DataLoader(
        dataset,
        batch_size=None,
        sampler=batches,
        collate_fn=_as_it_is,
        num_workers=workers,
        prefetch_factor=BATCHES_AHEAD if workers else None,
        pin_memory=pinned,
        # Its own: the default would draw a number from the user's generator.
        generator=torch.Generator(),
    )
    for found in loader:
        if isinstance(found, TtameError):
            raise found
        yield found


def _as_it_is(batch: Any) -> Any:
    return batch
