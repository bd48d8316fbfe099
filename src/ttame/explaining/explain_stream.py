"""Explaining a stream of photos whose pictures nobody draws: maps and numbers are all there is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import Protocol

from ttame.explaining.explain_photos import Explaining
from ttame.explaining.explained_batch import Listener, Silence, explained, unfinished_batches
from ttame.explaining.read_ahead import BatchesOfPhotos, ReadBatch, read_ahead
from ttame.processes import Share
from ttame.results.explanation import Explanation


class StreamWriter(Protocol):
    """Keeps finished batches, whatever happens to the run.

    Attributes:
        batches_together: so many consecutive batches are written by one process.
    """

    batches_together: int

    def finished(self) -> Set[int]:
        """The batches that an earlier run has finished."""

    def write(
        self,
        batch: int,
        numbers: Sequence[int],
        explanations: Sequence[Explanation],
        skipped: Sequence[tuple[int, str]],
    ) -> None:
        """Write a batch: the numbers of its photos, and one explanation of them per method."""


def explain_stream(
    explaining: Explaining,
    writer: StreamWriter,
    *,
    workers: int,
    listener: Listener | None = None,
    share: Share | None = None,
) -> None:
    """Explain whatever is not finished yet; no photo and no map is kept.

    Args:
        explaining: what is to be explained, and how.
        writer: gets the explanations of each batch as soon as they are there.
        workers: processes that read photos ahead.
        listener: told how far it is.
        share: the share of this process.

    Raises:
        DatasetError: the photos as a whole cannot be used. Finished batches are kept.
        NonFiniteMapError: a map that is not a map.
    """
    listener = listener or Silence()
    own = [*batches_of(share or Share(), explaining.batches, writer.batches_together)]
    left = unfinished_batches(own, explaining.numbers, writer.finished(), listener)
    preprocessing = explaining.classifier.preprocessing
    dataset = BatchesOfPhotos(explaining.photos, preprocessing, explaining.batch_size)
    pinned = explaining.classifier.device.type == "cuda"
    for read in read_ahead(dataset, left, workers=workers, pinned=pinned):
        _tell(explaining, read, listener)
        found: list[Explanation] = []
        if read.images is not None:
            found = explained(explaining, read.images, read.numbers[0], listener)
        writer.write(read.batch, read.numbers, found, read.skipped)


def batches_of(share: Share, count: int, together: int) -> Iterator[int]:
    """The numbers of a process's own batches, in runs that belong together.

    Example:
        >>> list(batches_of(Share(1, 2), 11, 3))
        [3, 4, 5, 9, 10]
    """
    for run in share.of_batches(-(-count // together)):
        yield from range(run * together, min((run + 1) * together, count))


def _tell(explaining: Explaining, read: ReadBatch, listener: Listener) -> None:
    for number, reason in read.skipped:
        listener.skip(explaining.photos.name(number), reason)
    for note in read.notes:
        listener.note(note)
