"""Which images come in which step: a function of seed, epoch and step, with nothing to restore."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch


@dataclasses.dataclass
class BatchOrder:
    """The positions of every batch that one process reads in one epoch.

    A batch of the whole run is cut into accumulated parts, and each part among the processes, so
    that any number of processes sees the same batches. The last, incomplete batch is dropped.
    For a ``DataLoader`` as ``batch_sampler``.

    Attributes:
        images: how many there are to train on.
        batch_size: per optimiser step, over all processes.
        parts: the parts of a batch that are accumulated.
        processes: how many share a part.
        process: which one this is.
        seed: the seed of the shuffling.
        epoch: another epoch, another order.
        first_step: optimiser steps of this epoch to leave out, after a resume.

    Example:
        >>> order = BatchOrder(images=5, batch_size=2)
        >>> len(order), [len(batch) for batch in order]
        (2, [2, 2])
    """

    images: int
    batch_size: int
    parts: int = 1
    processes: int = 1
    process: int = 0
    seed: int = 0
    epoch: int = 0
    first_step: int = 0

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps."""
        return self.images // self.batch_size

    def __len__(self) -> int:
        return (self.steps_per_epoch - self.first_step) * self.parts

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        shuffled = torch.randperm(self.images, generator=generator).tolist()
        share = self.batch_size // self.parts // self.processes
        for step in range(self.first_step, self.steps_per_epoch):
            for part in range(self.parts):
                start = step * self.batch_size + (part * self.processes + self.process) * share
                yield shuffled[start : start + share]
