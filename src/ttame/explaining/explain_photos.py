"""Explaining batch after batch of photos, each by every method."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import torch
from PIL import Image
from torch import Tensor

from ttame.classifiers.classifier import Classifier
from ttame.datasets.photo_source import PhotoSource
from ttame.errors import ExplainerError, ImageError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.memory_budget import DEFAULT_BUDGET
from ttame.explaining.explained_batch import Listener, Silence, explained, unfinished_batches
from ttame.images.rgb_conversion import scaling_of
from ttame.processes import Share
from ttame.results.explanation import Explanation

MOST_OPEN_PIXELS = 200_000_000
"""Of the photos that are open at a time: 800 MB."""


class BatchWriter(Protocol):
    """Takes what was found about the photos of one batch."""

    def add(
        self, number: int, photo: Image.Image, explanations: Sequence[Explanation], index: int
    ) -> None:
        """Write everything about photo ``number``, which is image ``index`` of the explanations."""

    def skip(self, number: int, reason: str) -> None:
        """Note that photo ``number`` could not be read."""


class ResultWriter(Protocol):
    """Keeps finished batches, whatever happens to the run."""

    def finished(self) -> Set[int]:
        """The batches that an earlier run has finished."""

    def batch(self, number: int) -> AbstractContextManager[BatchWriter]:
        """Open a batch; it is finished when the block ends without an error."""


@dataclasses.dataclass(frozen=True, eq=False)
class Explaining:
    """What is to be explained, and how.

    Attributes:
        photos: the data.
        explainers: label to explainer, all of one classifier.
        classes: ``"top3"`` and the like, or (1, K) classes for all photos.
        batch_size: photos at a time.
        rather_than: index of a class: what speaks for the others rather than for it.
        memory_budget: activations that a method with many passes may hold at a time, in bytes.
    """

    photos: PhotoSource
    explainers: Mapping[str, Explainer]
    classes: str | Tensor
    batch_size: int
    rather_than: int | None = None
    memory_budget: int = DEFAULT_BUDGET

    @property
    def classifier(self) -> Classifier:
        """The explained network."""
        return next(iter(self.explainers.values())).classifier

    @property
    def batches(self) -> int:
        """How many batches there are."""
        return -(-len(self.photos) // self.batch_size)

    def numbers(self, batch: int) -> range:
        """The photos of a batch."""
        start = batch * self.batch_size
        return range(start, min(start + self.batch_size, len(self.photos)))

    def refuse_different_networks(self) -> None:
        """Raise unless there are methods, all of one network.

        Raises:
            ExplainerError: no method, or methods of different classifiers.
        """
        if not self.explainers:
            raise ExplainerError("no method to explain with", allowed="at least one explainer")
        for label, explainer in self.explainers.items():
            if explainer.classifier.network is not self.classifier.network:
                raise ExplainerError(
                    f"{label} explains another network than {next(iter(self.explainers))}",
                    allowed="methods of one classifier",
                    remedy="make_explainer(name, classifier) or load_explainer(folder, "
                    "classifier=classifier)",
                )


def explain_batches(
    explaining: Explaining,
    writer: ResultWriter,
    *,
    listener: Listener | None = None,
    share: Share | None = None,
) -> None:
    """Explain whatever is not finished yet.

    Args:
        explaining: what is to be explained, and how.
        writer: gets the explanations of each batch as soon as they are there.
        listener: told how far it is.
        share: the share of this process.

    Raises:
        DatasetError: the photos as a whole cannot be used. Finished batches are kept.
        NonFiniteMapError: a map that is not a map.
    """
    listener = listener or Silence()
    own = (share or Share()).of_batches(explaining.batches)
    for batch in unfinished_batches(own, explaining.numbers, writer.finished(), listener):
        with writer.batch(batch) as results:
            for opened in _opened(explaining, batch, results, listener):
                images = torch.stack([photo.image for photo in opened])
                explanations: list[Explanation] = explained(
                    explaining, images, opened[0].number, listener
                )
                for index, photo in enumerate(opened):
                    results.add(photo.number, photo.drawn, explanations, index)


class _OpenPhoto(NamedTuple):
    """A photo that waits to be drawn on; ``image`` (C, H, W) is what the network takes."""

    number: int
    drawn: Image.Image
    image: Tensor


def _opened(
    explaining: Explaining, batch: int, results: BatchWriter, listener: Listener
) -> Iterator[list[_OpenPhoto]]:
    """The readable photos of a batch with their numbers; the others are skipped.

    Photos stay open until they are drawn, so fewer of them come at a time if they are large.
    """
    preprocessing = explaining.classifier.preprocessing
    opened: list[_OpenPhoto] = []
    pixels = 0
    for number in explaining.numbers(batch):
        try:
            photo = explaining.photos.read(number)
            ready = _OpenPhoto(number, preprocessing.drawn(photo), preprocessing.prepare(photo))
        except ImageError as problem:
            results.skip(number, str(problem))
            listener.skip(explaining.photos.name(number), str(problem))
            continue
        if scaling_of(ready.drawn):
            listener.note(f"{explaining.photos.name(number)}: {scaling_of(ready.drawn)}")
        coming = photo.width * photo.height
        if opened and pixels + coming > MOST_OPEN_PIXELS:
            yield opened
            opened, pixels = [], 0
        opened.append(ready)
        pixels += coming
        del photo, ready
    if opened:
        yield opened
