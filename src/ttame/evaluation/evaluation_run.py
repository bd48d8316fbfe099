"""Explaining and measuring image after image, method after method."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol as TypingProtocol

import torch
from PIL import Image
from torch import Tensor

from ttame.classifiers.classifier import Classifier
from ttame.datasets.photo_source import PhotoSource
from ttame.errors import (
    EvaluationError,
    ImageError,
)
from ttame.evaluation.kept_maps import MOST_PICTURED, keep_maps
from ttame.evaluation.row_store import BatchFacts, RowStore
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.memory_budget import (
    DEFAULT_BUDGET,
    ActivationMeter,
    Progress,
    in_chunks,
    most_at_once,
)
from ttame.files.printable_names import printable
from ttame.images.saliency_maps import has_evidence
from ttame.metrics.measuring_batch import MeasuringBatch
from ttame.metrics.metric import Metric
from ttame.metrics.protocol import Protocol
from ttame.metrics.shared_results import SharedResults
from ttame.networks.pass_counter import counting_passes
from ttame.processes import Share

HAS_EVIDENCE = "has_evidence"
"""Key of the rows that say whether a map is more than a constant."""

Targets = Callable[[str, int, Image.Image], Tensor | None]
"""Key of a photo, class, and the photo, to the (H, W) bool target in the network's view."""


class Listener(TypingProtocol):
    """Told how far an evaluation is."""

    def begin(self, method: str, images: int, finished: int) -> None:
        """A method starts on all ``images``, of which some were finished in an earlier run."""

    def step(self, finished: int, total: int) -> None:
        """A method with many passes has finished some of them."""

    def measured(self, images: int) -> None:
        """A batch of images is explained, measured and written."""

    def randomising(self, method: str) -> None:
        """The network is randomised under a method, to see whether its maps change."""


def spread(total: int, limit: int | None) -> Sequence[int]:
    """The numbers of the images that are evaluated: all, or as many as wanted, evenly spread.

    A sorted folder has its classes one after the other; its first images would be of one class.

    Example:
        >>> spread(10, 4), spread(3, 100)
        ([0, 2, 5, 7], range(0, 3))
    """
    if limit is None or limit >= total:
        return range(total)
    count = limit
    return [index * total // count for index in range(count)]


@dataclasses.dataclass(frozen=True)
class Measuring:
    """Everything that is the same for all methods of an evaluation.

    Attributes:
        classifier: the explained network.
        photos: the data.
        numbers: of the images that are evaluated.
        protocol: how to measure.
        metrics: what to measure.
        batch_size: images at a time.
        folder: where rows and maps go.
        targets: where the annotated objects are, if the data are annotated.
        memory_budget: activations that a method with many passes may hold at a time.
    """

    classifier: Classifier
    photos: PhotoSource
    numbers: Sequence[int]
    protocol: Protocol
    metrics: Sequence[Metric]
    batch_size: int
    folder: Path
    targets: Targets | None = None
    memory_budget: str | int = DEFAULT_BUDGET


def measure_methods(
    measuring: Measuring,
    explainers: Mapping[str, Explainer],
    *,
    listener: Listener,
    share: Share | None = None,
) -> None:
    """Explain and measure whatever is not finished yet.

    Args:
        measuring: what is the same for all methods.
        explainers: label to explainer, of the same classifier.
        listener: told how far it is.
        share: of this process.

    Raises:
        EvaluationError: a probability that is not a number, a label that is missing.
        NonFiniteMapError: a map with values that are not finite. What was measured before is kept.
    """
    share = share or Share()
    store = RowStore(measuring.folder)
    quick = measuring.classifier.for_many_passes()
    chunks = list(in_chunks(len(measuring.numbers), measuring.batch_size))
    for label, explainer in explainers.items():
        finished = store.finished(label)
        # Of the batches that are this process's own, so that the time left is right for it.
        own = share.of_batches(len(chunks))
        sizes = [part.stop - part.start for part in chunks]
        before = sum(sizes[i] for i in own if i in finished)
        listener.begin(label, sum(sizes[i] for i in own), before)
        explain = _Explaining(explainer, measuring.memory_budget, listener.step)
        for batch in own:
            if batch in finished:
                continue
            part = chunks[batch]
            # The first batch warms up, so it is the one that the memory is measured on.
            meter = batch == 0
            _measure(measuring, store, quick, label, explain, batch, part, meter=meter)
            listener.measured(part.stop - part.start)


@dataclasses.dataclass(frozen=True)
class _Explaining:
    """One method, called as this evaluation calls it."""

    explainer: Explainer
    memory_budget: str | int
    progress: Progress

    def __call__(self, images: Tensor, classes: Tensor) -> Tensor:
        """(B, h, w) raw maps of one class an image."""
        explanation = self.explainer(
            images,
            classes[:, None],
            memory_budget=self.memory_budget,
            progress=self.progress,
        )
        return explanation.maps[:, 0]


def _measure(
    measuring: Measuring,
    store: RowStore,
    quick: Classifier,
    label: str,
    explain: _Explaining,
    batch: int,
    part: slice,
    *,
    meter: bool,
) -> None:
    read = readable_images(measuring, measuring.numbers[part])
    numbers, images, skipped = list(read.numbers), read.images, read.skipped
    if not numbers:
        store.write(label, batch, [], [], [], {}, BatchFacts(0, 0, False, 0, 0, 0, None, skipped))
        return
    classifier = measuring.classifier
    probabilities = _checked_probabilities(quick, [measuring.photos.name(n) for n in numbers])
    shared = SharedResults()
    before = shared.once(probabilities, images)
    classes = explained_classes(measuring, numbers, before)
    maps, facts = _explain(explain, images, classes, skipped, meter=meter)
    measured = MeasuringBatch(
        probabilities=probabilities,
        images=images,
        maps=maps,
        classes=classes,
        preprocessing=classifier.preprocessing,
        explain=explain,
        numbers=tuple(numbers),
        exclusive=classifier.outputs.exclusive,
        targets=_targets(measuring, read, classes),
        shared=shared,
    )
    values: dict[str, Tensor] = {HAS_EVIDENCE: has_evidence(maps).float()}
    with torch.no_grad():
        for metric in measuring.metrics:
            values |= metric.measure(measured, measuring.protocol)
    keys = [printable(measuring.photos.key(number)) for number in numbers]
    shown = maps.clamp_min(0) if explain.explainer.card.map_is == "pixels" else maps
    if _is_pictured(measuring, batch):
        keep_maps(measuring.folder, label, batch, numbers, shown)
    rows = {name: value.double().cpu().numpy() for name, value in values.items()}
    store.write(label, batch, numbers, keys, classes.tolist(), rows, facts)


def _explain(
    explain: _Explaining,
    images: Tensor,
    classes: Tensor,
    skipped: tuple[tuple[str, str], ...],
    *,
    meter: bool,
) -> tuple[Tensor, BatchFacts]:
    count = len(images)
    peak: float | None = None
    with counting_passes() as passes:
        start = time.perf_counter()
        if meter:
            with ActivationMeter() as memory:
                maps = explain(images, classes)
            peak = memory.peak / 1e6
        else:
            maps = explain(images, classes)
        if maps.is_cuda:
            torch.cuda.synchronize()
        milliseconds = 1000 * (time.perf_counter() - start) / count
    return maps, BatchFacts(
        images=count,
        milliseconds=milliseconds,
        metered=meter,
        forward=passes.forward / count,
        backward=passes.backward / count,
        tail=passes.tail / count,
        peak_megabytes=peak,
        skipped=skipped,
    )


def _checked_probabilities(
    classifier: Classifier, names: Sequence[str]
) -> Callable[[Tensor], Tensor]:
    """The classifier's probabilities, asked in chunks, refused where they are not numbers."""
    size = most_at_once(classifier.device)

    def probabilities(images: Tensor) -> Tensor:
        with torch.no_grad():
            chunks = in_chunks(len(images), size)
            found = torch.cat([classifier.probabilities(images[part]) for part in chunks])
        if not torch.isfinite(found).all():
            raise EvaluationError(
                f"{classifier.name} gave probabilities that are not numbers for {names[0]}"
                + (f" or one of the {len(names) - 1} after it" if names[1:] else ""),
                remedy="looking for NaN in its weights, or float32 instead of half precision",
            )
        return found

    return probabilities


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


def _targets(measuring: Measuring, read: ReadImages, classes: Tensor) -> Tensor | None:
    if measuring.targets is None:
        return None
    size = measuring.classifier.preprocessing.input_size
    found = []
    for number, photo, index in zip(read.numbers, read.photos, classes.tolist(), strict=True):
        target = measuring.targets(measuring.photos.key(number), index, photo)
        found.append(torch.zeros(size, dtype=torch.bool) if target is None else target)
    return torch.stack(found).to(classes.device)


@dataclasses.dataclass(frozen=True, eq=False)
class ReadImages:
    """What could be read of a batch of photos.

    Attributes:
        numbers: of the photos that could be read.
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


def _is_pictured(measuring: Measuring, batch: int) -> bool:
    """Whether the maps of a batch are kept: of all, or of every so many."""
    every = -(-len(measuring.numbers) // max(MOST_PICTURED, measuring.batch_size))
    return batch % every == 0
