"""What a training is made of: inputs of one network, whatever they show."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import torch
from torch.utils.data import DataLoader

from ttame.classifiers.any_classifier import Explainable
from ttame.datasets.prepared_images import FailedBatch, PreparedBatch
from ttame.training.training_settings import TrainingSettings


class PreparedInputs(Protocol):
    """Inputs of a network for a ``DataLoader``, such as :class:`PreparedImages`."""

    in_workers: ClassVar[bool]
    """Whether other processes can prepare them."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, position: int) -> Any:
        """One of them."""

    def set_epoch(self, epoch: int) -> None:
        """Draw what is random in them anew."""

    def collate(self, items: Sequence[Any]) -> PreparedBatch | FailedBatch:
        """Join items into a batch."""


def loader_of(inputs: PreparedInputs, batches: Any, workers: int) -> DataLoader[Any]:
    """A loader of batches of these positions, whose processes are as many as can help."""
    dataset: Any = inputs
    return DataLoader(
        dataset,
        batch_sampler=batches,
        collate_fn=inputs.collate,
        num_workers=workers if inputs.in_workers else 0,
        # Its own: the default would draw a number from the user's generator.
        generator=torch.Generator(),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingMaterial:
    """What a run trains and validates on.

    Attributes:
        training: to train on.
        held_out: to validate on; ``None`` without any.
        fingerprint: the fingerprint of all of it.
        skipped: what could not be read so far, name to reason.
        names: what the places of the data are called on the card.
        command: what makes the same run, on the command line or in Python.
    """

    training: PreparedInputs
    held_out: PreparedInputs | None
    fingerprint: str
    skipped: Mapping[str, str]
    names: tuple[str, ...]
    command: str


class OwnMaterial(abc.ABC):
    """Data that know how they become inputs of a network; photos are no such data.

    Attributes:
        kind: the kind of the classifiers that they are for.
    """

    kind: str

    @abc.abstractmethod
    def material(
        self, classifier: Explainable, settings: TrainingSettings, folder: str
    ) -> TrainingMaterial:
        """Open the data, and hold some out.

        Raises:
            DatasetError: there are none.
        """
