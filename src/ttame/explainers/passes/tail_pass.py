"""Running only the end of a network, for many variants of one layer's output."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from ttame.classifiers.classifier import Classifier
from ttame.classifiers.feature_reading import FeatureReading
from ttame.errors import ClassifierError
from ttame.explainers.contract.memory_budget import (
    MARGIN,
    ActivationMeter,
    Progress,
    in_chunks,
    items_at_once,
    part_of,
)
from ttame.explainers.passes.tapped_output import exchanging_output, tapped_output
from ttame.networks.layer_outputs import put_first_tensor

MOST_TAILS_AT_ONCE = 512
"""The tail is short, and every chunk of variants costs one run of the body of a single image."""

Change = Callable[[Tensor, Tensor], Tensor]
"""Given (n, ...) copies of the layer's output and the (n,) numbers of the wanted variants, make
these variants; in place, if it likes."""


@dataclasses.dataclass(frozen=True)
class TailChunk:
    """Some of the variants, after the tail.

    Attributes:
        images: (n,) int64, which image of the batch each row belongs to.
        variants: (n,) int64, which variant it is.
        logits: (n, C) in the network's dtype.
    """

    images: Tensor
    variants: Tensor
    logits: Tensor


class TailPass:
    """Runs what comes after a classifier's last tap for many variants of the tapped output.

    The variants take the place of the layer's output while the network runs, so that everything
    before the layer sees one image, and everything after it a batch of variants. Where the tail
    reads nothing but this output (a stage of a CNN), variants of several images share a chunk.
    Where something else goes round the layer (the residual of a transformer block), the chunks of
    each image run with that image, whose single row is added to all variants.

    Args:
        classifier: with a single tap.

    Attributes:
        reads_nothing_else: whether the tail reads nothing but the tapped output; found by a run in
            which the batch would otherwise not fit.
        goes_round_in_place: whether the variants are written to something that goes round the
            layer, as ``x += layer(x)`` does, and does not grow with them. Each variant then runs
            with an image of its own.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> tail = TailPass(tiny_classifier().with_taps(["1"]))
        >>> images = torch.zeros(2, 3, 16, 16)
        >>> reading, size = tail.read(images)
        >>> def times(features, variants):
        ...     return features * variants.reshape(-1, 1, 1, 1)
        >>> [chunk.logits.shape for chunk in tail.run(images, reading, 3, times, at_once=4)]
        [torch.Size([4, 5]), torch.Size([2, 5])]
    """

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.tap = tapped_output(classifier)
        blank = classifier.blank_image()
        self.goes_round_in_place = False
        self.reads_nothing_else = self._takes_another_batch(blank)
        if not self.reads_nothing_else:
            self.goes_round_in_place = not self._adds_one_row_to_all(blank)

    @torch.no_grad()
    def read(self, images: Tensor) -> tuple[FeatureReading, int]:
        """Run the network once on the images.

        Returns:
            Logits and features, and the bytes that a variant needs in the tail (in the whole
            network where it has an image of its own), with a margin.
        """
        meter = ActivationMeter()

        def restart(_output: Any) -> None:
            if not self.goes_round_in_place:
                meter.restart()

        with exchanging_output(self.classifier, restart), meter:
            reading = self.classifier.read_features(images)
        return reading, int(MARGIN * meter.peak / len(images))

    @torch.no_grad()
    def run(
        self,
        images: Tensor,
        reading: FeatureReading,
        count: int,
        change: Change,
        *,
        at_once: int,
        progress: Progress | None = None,
    ) -> Iterator[TailChunk]:
        """Run the tail for every variant of every image.

        Args:
            images: (B, 3, H, W), as passed to :meth:`read`.
            reading: what that gave.
            count: variants an image, numbered from 0.
            change: makes the variants.
            at_once: variants a chunk.
            progress: told the finished and the total number of variants.
        """
        outputs = reading.layer_outputs[0]
        total = len(images) * count
        groups = 1 if self.reads_nothing_else else len(images)
        for group in range(groups):
            first = group * count
            steps = total if groups == 1 else count
            for part in in_chunks(steps, at_once, part_of(progress, first, total)):
                items = torch.arange(first + part.start, first + part.stop, device=outputs.device)
                of_image, variants = items // count, items % count
                changed = change(outputs[of_image], variants)
                logits = self._logits(images[group : group + 1], changed)
                yield TailChunk(of_image, variants, logits)

    def at_once(self, bytes_per_variant: int, budget: int) -> int:
        """How many variants fit into a memory budget together."""
        return items_at_once(bytes_per_variant, budget, MOST_TAILS_AT_ONCE)

    def _logits(self, images: Tensor, changed: Tensor) -> Tensor:
        def put(output: Any) -> Any:
            return put_first_tensor(output, changed)

        if self.goes_round_in_place:
            images = images.expand(len(changed), -1, -1, -1)
        with exchanging_output(self.classifier, put):
            return self.classifier.logits(images, rows=len(changed))

    @torch.no_grad()
    def _adds_one_row_to_all(self, blank: Tensor) -> bool:
        """Whether two rows after the layer are welcome where one image went in."""
        output = self.classifier.read_features(blank).layer_outputs[0]
        try:
            self._logits(blank, output[[0, 0]])
        except ClassifierError:
            return False
        return True

    @torch.no_grad()
    def _takes_another_batch(self, blank: Tensor) -> bool:
        """Whether five rows after the layer are welcome where two images went in."""
        images = blank.repeat(2, 1, 1, 1)
        output = self.classifier.read_features(images).layer_outputs[0]
        try:
            self._logits(images, output[[0, 1, 0, 1, 0]])
        except ClassifierError:
            return False
        return True
