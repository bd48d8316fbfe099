"""Photos as inputs of one network, in batches."""

from __future__ import annotations

import dataclasses
import hashlib
import struct
from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple, NoReturn, get_args

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from ttame.datasets.photo_source import PhotoSource
from ttame.errors import DatasetError, ImageError
from ttame.images.band_photo import Picture
from ttame.images.preprocessing import Preprocessing

Augmentation = Literal["none", "random crop and flip", "random zoom and flip"]


class SkippedPhoto(NamedTuple):
    """A photo that could not be read; ``f"{name} {reason}"`` is a sentence."""

    name: str
    reason: str


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedImage:
    """One network input.

    Attributes:
        image: (C, H, W) float32, normalised.
        index: the index of the photo that ``image`` shows, in the source.
        skipped: unreadable photos that were met on the way to it.
    """

    image: Tensor
    index: int
    skipped: tuple[SkippedPhoto, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedBatch:
    """A batch of network inputs.

    Attributes:
        images: (B, C, H, W) float32, normalised.
        indices: (B,) int64, of the photos that ``images`` show, in the source.
        skipped: unreadable photos that were met on the way, each once. Over an epoch the same
            photo may come in several batches: ``dict(batch.skipped)`` merges them by name.
    """

    images: Tensor
    indices: Tensor
    skipped: tuple[SkippedPhoto, ...] = ()

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PreparedBatch:
        """Copy the tensors to ``device``."""
        return dataclasses.replace(
            self,
            images=self.images.to(device, non_blocking=non_blocking),
            indices=self.indices.to(device, non_blocking=non_blocking),
        )

    def pin_memory(self) -> PreparedBatch:
        """Copy the tensors to page-locked memory; ``DataLoader(pin_memory=True)`` calls this."""
        return dataclasses.replace(
            self, images=self.images.pin_memory(), indices=self.indices.pin_memory()
        )


class FailedBatch:
    """Comes out of a DataLoader worker in place of a batch; the code that uses it gets the error.

    An exception raised in a worker would arrive as the same type with a whole traceback for its
    message. This carries the error to the main process as it was.
    """

    def __init__(self, error: DatasetError) -> None:
        self.error = error

    @property
    def images(self) -> NoReturn:
        """Raise the error."""
        raise self.error

    @property
    def indices(self) -> NoReturn:
        """Raise the error."""
        raise self.error

    @property
    def skipped(self) -> NoReturn:
        """Raise the error."""
        raise self.error

    def to(self, device: torch.device | str, non_blocking: bool = False) -> NoReturn:
        """Raise the error."""
        raise self.error


class PreparedImages(Dataset[PreparedImage]):
    """The photos of a source, or some of them, as network inputs for a ``DataLoader``.

    What an item looks like depends on nothing but the seed, the epoch and the photo's index in
    the source: not on the order of reading, the number of workers or processes, or on what was
    read before. So a resumed run sees the pixels of an uninterrupted one.

    An unreadable photo is replaced by the next readable one within ``indices`` (after the last
    comes the first), so that batches never shrink, and is named in ``skipped``. A photo that was
    unreadable once is not tried again in the same process.

    Args:
        source: where the photos come from.
        preprocessing: the classifier's own.
        indices: which photos of the source, in this order; all if not given.
        augmentation: ``"none"`` takes the centre crop; ``"random crop and flip"`` draws the
            position of the crop, and mirrors every second photo on average. ``"random zoom and
            flip"`` draws a part of 35 % to 100 % of the photo's area, with sides 3:4 to 4:3,
            and squeezes it into the network's input.
        seed: the seed of the augmentation.

    Raises:
        DatasetError: no indices, one that the source does not have, or an unknown augmentation.

    Example:
        >>> from PIL import Image
        >>> from ttame.datasets.wrapped_dataset import WrappedDataset
        >>> photos = WrappedDataset([Image.new("RGB", (40, 30)) for _ in range(4)])
        >>> images = PreparedImages(photos, Preprocessing.imagenet(16), indices=[3, 1])
        >>> loader = torch.utils.data.DataLoader(images, batch_size=2, collate_fn=collate)
        >>> for batch in loader:
        ...     print(batch.images.shape, batch.indices.tolist())
        torch.Size([2, 3, 16, 16]) [3, 1]
    """

    in_workers: ClassVar[bool] = True
    """Whether other processes can prepare it."""

    def __init__(
        self,
        source: PhotoSource,
        preprocessing: Preprocessing,
        indices: Sequence[int] | None = None,
        *,
        augmentation: Augmentation = "none",
        seed: int = 0,
    ) -> None:
        chosen = np.array(range(len(source)) if indices is None else indices, dtype=np.int64)
        if not chosen.size:
            raise DatasetError("no photos", allowed="at least one")
        if chosen.min() < 0 or chosen.max() >= len(source):
            raise DatasetError(
                f"photos {chosen.min()} to {chosen.max()}", allowed=f"0 to {len(source) - 1}"
            )
        if augmentation not in get_args(Augmentation):
            raise DatasetError(
                f"augmentation {augmentation!r}", allowed=" or ".join(get_args(Augmentation))
            )
        self.source = source
        self.preprocessing = preprocessing
        self.augmentation = augmentation
        self.seed = seed
        self._indices = chosen
        # In shared memory, so that set_epoch reaches workers that outlive an epoch.
        self._epoch: Tensor = torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
        self._unreadable: dict[int, str] = {}  # index in the source: reason

    def __len__(self) -> int:
        return len(self._indices)

    @property
    def epoch(self) -> int:
        """The epoch whose crops and flips are drawn."""
        return int(self._epoch)

    def collate(self, items: Sequence[PreparedImage] | DatasetError) -> PreparedBatch | FailedBatch:
        """Join items into a batch, for a ``DataLoader``; see :func:`collate`."""
        return collate(items)

    def set_epoch(self, epoch: int) -> None:
        """Draw the crops and flips of ``epoch`` from now on.

        To be called before a loader is iterated; batches that its workers have prepared already
        stay as they are.
        """
        self._epoch.fill_(epoch)

    def __getitem__(self, position: int) -> PreparedImage:
        """Prepare the photo at ``position`` within the indices, or the next readable one.

        Raises:
            DatasetError: none of the photos is readable, or the source cannot be used.
        """
        if not 0 <= position < len(self):
            raise IndexError(f"position {position} of {len(self)}")
        skipped: list[SkippedPhoto] = []
        for step in range(len(self)):
            index = int(self._indices[(position + step) % len(self)])
            known = index in self._unreadable
            image = None if known else self._prepare(index)
            if image is not None:
                return PreparedImage(image, index, tuple(skipped))
            # A bad photo behind the asked-for one is named when it is met first or asked for
            # itself; naming it every time would make a run of bad photos cost its square.
            if not known or step == 0:
                skipped.append(SkippedPhoto(self.source.name(index), self._unreadable[index]))
        raise self._all_unreadable()

    def __getitems__(self, positions: Sequence[int]) -> list[PreparedImage] | DatasetError:
        """Prepare a batch for :func:`collate`; a DataLoader calls this instead of single items.

        In a worker process an error is returned, not raised: see :class:`FailedBatch`.
        """
        try:
            return [self[position] for position in positions]
        except DatasetError as problem:
            if get_worker_info() is None:
                raise
            return problem

    def _prepare(self, index: int) -> Tensor | None:
        """(C, H, W) float32, or None if photo ``index`` is unreadable."""
        try:
            return self._prepared(index, self.source.read(index))
        except ImageError as problem:
            name = self.source.name(index)
            self._unreadable[index] = problem.problem.removeprefix(name).strip()
            return None

    def _prepared(self, index: int, photo: Picture) -> Tensor:
        if self.augmentation == "none":
            return self.preprocessing.prepare(photo)
        if self.augmentation == "random zoom and flip":
            box, flip = _box_and_flip(self.seed, self.epoch, index, photo.size)
            squeezed = dataclasses.replace(self.preprocessing, resize=self.preprocessing.input_size)
            return squeezed.prepare(photo.crop(box), flip=flip)
        crop_at, flip = _crop_and_flip(self.seed, self.epoch, index)
        return self.preprocessing.prepare(photo, crop_at=crop_at, flip=flip)

    def _all_unreadable(self) -> DatasetError:
        first = [int(index) for index in self._indices[:3]]
        shown = "; ".join(f"{self.source.name(index)} {self._unreadable[index]}" for index in first)
        more = ", and so on" if len(self) > len(first) else ""
        return DatasetError(f"none of the {len(self)} photos is readable ({shown}{more})")


def collate(items: Sequence[PreparedImage] | DatasetError) -> PreparedBatch | FailedBatch:
    """Join items into a batch; to be given to a ``DataLoader`` as ``collate_fn``.

    Args:
        items: B items, or the error that kept a worker from preparing them.

    Returns:
        The batch, or what raises the error once it is used.
    """
    if isinstance(items, DatasetError):
        return FailedBatch(items)
    return PreparedBatch(
        images=torch.stack([item.image for item in items]),
        indices=torch.tensor([item.index for item in items], dtype=torch.int64),
        skipped=tuple(dict.fromkeys(photo for item in items for photo in item.skipped)),
    )


def _crop_and_flip(seed: int, epoch: int, index: int) -> tuple[tuple[float, float], bool]:
    """Draw ((vertical, horizontal) in [0, 1], flip) from a hash, which has no state to restore."""
    digest = hashlib.blake2b(f"{seed} {epoch} {index}".encode(), digest_size=9).digest()
    down, across, coin = struct.unpack("<IIB", digest)
    return (down / 0xFFFFFFFF, across / 0xFFFFFFFF), bool(coin & 1)


_SMALLEST_AREA = 0.35
_WIDEST_SHAPE = 4 / 3


def _box_and_flip(
    seed: int, epoch: int, index: int, photo_size: tuple[int, int]
) -> tuple[tuple[int, int, int, int], bool]:
    """Draw ((left, top, right, bottom) in pixels of the photo, flip), as Inception's crops."""
    digest = hashlib.blake2b(f"{seed} {epoch} {index} zoom".encode(), digest_size=17).digest()
    *numbers, coin = struct.unpack("<IIIIB", digest)
    area, shape, across, down = (number / 0xFFFFFFFF for number in numbers)
    width, height = photo_size
    pixels = width * height * (_SMALLEST_AREA + (1 - _SMALLEST_AREA) * area)
    ratio = _WIDEST_SHAPE ** (2 * shape - 1)  # Wide and high shapes are equally likely.
    box_width = min(width, max(1, round((pixels * ratio) ** 0.5)))
    box_height = min(height, max(1, round((pixels / ratio) ** 0.5)))
    left, top = round(across * (width - box_width)), round(down * (height - box_height))
    return (left, top, left + box_width, top + box_height), bool(coin & 1)
