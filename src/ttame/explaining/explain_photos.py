"""Explaining batch after batch of photos, each by every method."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import torch
from PIL import Image
from torch import Tensor

from ttame.classifiers.class_selection import ClassSelection, select_classes
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.targets import Target
from ttame.datasets.photo_source import PhotoSource
from ttame.errors import ExplainerError, ImageError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.memory_budget import DEFAULT_BUDGET
from ttame.images.rgb_conversion import scaling_of
from ttame.processes import Share
from ttame.results.explanation import Explanation

MOST_OPEN_PIXELS = 200_000_000
"""Of the photos that are open at a time: 800 MB."""


class Listener(Protocol):
    """Told how far the explaining is."""

    def start(self, photos: int, finished: int) -> None:
        """This process explains so many photos, of which some were finished in an earlier run."""

    def begin(self, method: str, first: int, count: int) -> None:
        """A method starts on ``count`` photos; ``first`` is the number of the first, from 1."""

    def step(self, finished: int, total: int) -> None:
        """A method with many passes has finished some of them."""

    def finish(self) -> None:
        """The method that began has explained its photos."""

    def skip(self, name: str, reason: str) -> None:
        """A photo could not be read, so that no method will explain it."""

    def note(self, text: str) -> None:
        """Something that the user should know of a photo."""


class Silence:
    """A listener that says nothing."""

    def start(self, photos: int, finished: int) -> None:
        """Nothing."""

    def begin(self, method: str, first: int, count: int) -> None:
        """Nothing."""

    def step(self, finished: int, total: int) -> None:
        """Nothing."""

    def finish(self) -> None:
        """Nothing."""

    def skip(self, name: str, reason: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


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


def classes_for_all(
    selection: ClassSelection, classifier: Classifier, methods: int
) -> str | Tensor:
    """Read what is to be explained of every photo, and check it before any work.

    Args:
        selection: an int, a list of ints, ``"all"``, ``"top3"``, a class name or a list of names;
            ``None`` for the three most probable classes by one method (fewer if there are no
            three), and for the most probable one by several.
        classifier: the explained network.
        methods: how many there are.

    Returns:
        ``"top3"`` and the like, or (1, K) int64.

    Raises:
        ClassSelectionError: a class that the classifier does not have.
    """
    count = classifier.number_of_classes
    if selection is None:
        return f"top{min(3, count)}" if methods == 1 else "top1"
    if isinstance(selection, list | tuple) and all(isinstance(entry, int) for entry in selection):
        selection = [list(selection)] if selection else selection
    chosen = select_classes(selection, torch.zeros(1, count), classifier.class_names)
    # What is most probable differs from photo to photo.
    of_each = isinstance(selection, str) and re.fullmatch(r"top-?\d+", selection)
    return str(selection) if of_each else chosen


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
        share: of this process.

    Raises:
        DatasetError: the photos as a whole cannot be used. Finished batches are kept.
        NonFiniteMapError: a map that is not a map.
    """
    listener = listener or Silence()
    own = (share or Share()).of_batches(explaining.batches)
    finished = writer.finished()
    sizes = {batch: len(explaining.numbers(batch)) for batch in own}
    before = sum(size for batch, size in sizes.items() if batch in finished)
    listener.start(sum(sizes.values()), before)
    for batch in own:
        if batch in finished:
            continue
        with writer.batch(batch) as results:
            for opened in _opened(explaining, batch, results, listener):
                images = torch.stack([photo.image for photo in opened])
                explanations = explained(explaining, images, opened[0].number, listener)
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


def explained(
    explaining: Explaining, images: Tensor, first: int, listener: Listener
) -> list[Explanation]:
    """Explain the same classes of the same photos by every method.

    Args:
        explaining: what is to be explained, and how.
        images: (B, C, H, W), prepared.
        first: number of the first of them.
        listener: told how far it is.

    Returns:
        An explanation of the B photos per method, on the CPU.
    """
    wanted: ClassSelection = explaining.classes
    if isinstance(wanted, Tensor):
        wanted = wanted.expand(len(images), -1)
    rather_than = explaining.rather_than
    explanations: list[Explanation] = []
    for label, explainer in explaining.explainers.items():
        listener.begin(label, first + 1, len(images))
        target = Target.of(wanted) if rather_than is None else Target.contrast(wanted, rather_than)
        found = explainer(
            images,
            target=target,
            memory_budget=explaining.memory_budget,
            progress=listener.step,
        )
        # The maps wait on the CPU, so that many methods need no more of a GPU than one.
        explanations.append(dataclasses.replace(found.to("cpu"), method=label))
        listener.finish()
        # The first method chooses: "top3" must mean the same three classes for all of them.
        wanted = explanations[0].classes
    return explanations
