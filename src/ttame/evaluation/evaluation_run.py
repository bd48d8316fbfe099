"""Explaining and measuring image after image, method after method."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ttame.classifiers.classifier import Classifier
from ttame.errors import (
    EvaluationError,
)
from ttame.evaluation.judge import shown_to_judge
from ttame.evaluation.kept_maps import MOST_PICTURED, keep_maps
from ttame.evaluation.measuring import Listener, Measuring
from ttame.evaluation.read_images import annotated_targets, explained_classes, readable_images
from ttame.evaluation.row_store import BatchFacts, RowStore
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.memory_budget import (
    ActivationMeter,
    Progress,
    in_chunks,
    most_at_once,
)
from ttame.files.printable_names import printable
from ttame.images.saliency_maps import has_evidence
from ttame.metrics.measuring_batch import MeasuringBatch
from ttame.metrics.shared_results import SharedResults
from ttame.networks.pass_counter import counting_passes
from ttame.processes import Share

HAS_EVIDENCE = "has_evidence"
"""Key of the rows that say whether a map is more than a constant."""


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
        share: the share of this process.

    Raises:
        EvaluationError: a probability that is not a number, a label that is missing.
        NonFiniteMapError: a map with values that are not finite. What was measured before is kept.
    """
    share = share or Share()
    store = RowStore(measuring.folder)
    quick = measuring.classifier.for_many_passes()
    judge = measuring.judge.for_many_passes() if measuring.judge else None
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
            _measure(measuring, store, quick, judge, label, explain, batch, part, meter=meter)
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
    judge: Classifier | None,
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
    names = [measuring.photos.name(number) for number in numbers]
    probabilities = _checked_probabilities(quick, names)
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
        targets=annotated_targets(measuring, read, classes),
        shared=shared,
        judge=None
        if judge is None
        else shown_to_judge(classifier, judge, _checked_probabilities(judge, names)),
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


def _is_pictured(measuring: Measuring, batch: int) -> bool:
    """Whether the maps of a batch are kept: of all, or of every so many."""
    every = -(-len(measuring.numbers) // max(MOST_PICTURED, measuring.batch_size))
    return batch % every == 0
