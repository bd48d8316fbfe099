"""Which learning rate to train with: a short run whose rate grows from step to step."""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from torch import nn

from ttame.classifiers.any_classifier import Explainable
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.features_from import with_features_from
from ttame.datasets.prepared_images import PreparedBatch
from ttame.errors import NonFiniteLossError, TrainingError
from ttame.files.atomic_writing import whole_file, write_json
from ttame.memory_limit import naming_the_setting
from ttame.networks.giving_back import gives_everything_back
from ttame.training.learning_rate_plot import learning_rate_svg
from ttame.training.run_preparation import TrainingData, make_accelerator, new_run
from ttame.training.train_explainer import BATCH_REMEDY, optimise
from ttame.training.training_folder import TrainingFolder
from ttame.training.training_line import RangeTestLine
from ttame.training.training_run import TrainingRun
from ttame.training.training_settings import TrainingSettings, training_settings

SCHEMA_VERSION = 1

_DIVERGED = 4.0
"""The test ends when a loss that is not bounded is this many times its best."""

_SMOOTHING = 3.0
"""Standard deviation of the smoothing, in steps."""

_ROUNDING = 1e-6
"""Relative; losses that differ by less are the same."""

WatchTest = Callable[[int, int, float, float], None]
"""Called with (steps done, steps at most, learning rate, loss)."""


@dataclasses.dataclass(frozen=True)
class LearningRateTest:
    """The outcome of a learning-rate range test.

    Attributes:
        rates: one per step, growing by a constant factor.
        losses: the losses of each step.
        smoothed_losses: the losses, smoothed over neighbouring steps.
        suggested_rate: where the smoothed loss falls fastest per decade of the rate; ``None``
            if it never falls.
        reason: why there is no suggestion, or why the test ended early; else empty.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed_losses: tuple[float, ...]
    suggested_rate: float | None
    reason: str = ""

    def save_json(self, path: Path | str) -> None:
        """Write all numbers, whole or not at all.

        Raises:
            OutputError: the disk is full or the place is not writable.
        """
        write_json(path, {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)})


@gives_everything_back
def find_learning_rate(
    classifier: Explainable,
    data: TrainingData,
    settings: TrainingSettings = training_settings(),  # noqa: B008 - frozen
    *,
    features_from: Classifier | nn.Module | None = None,
    steps: int = 100,
    lowest: float = 1e-6,
    highest: float = 1.0,
    watch: WatchTest | None = None,
    progress: bool = True,
) -> LearningRateTest:
    """Train a fresh head while the learning rate grows, and see where the loss falls fastest.

    The range test of Smith (arXiv 1506.01186), which TAME's rates come from. The batches, the
    loss and the optimiser are those of a training with the same settings, except that momentum
    stays as configured. Nothing is written, and the head is thrown away.

    Args:
        classifier: stays as it is.
        data: as for :func:`train_explainer`.
        settings: as for :func:`train_explainer`; their learning rate is not used.
        features_from: as for :func:`train_explainer`.
        steps: optimiser steps at most; the test ends early when the loss is not a number, or, where
            it is not bounded, exceeds four times its best. The kept-share loss is bounded.
        lowest: the first rate.
        highest: the last rate.
        watch: called after every step.
        progress: whether to show a line that says how far it is; not where there is a ``watch``.

    Raises:
        TrainingError: a range that is none, or settings that do not fit the data.
        DatasetError: no readable images.
        MemoryLimitError: a batch does not fit into memory.
    """
    if steps < 2 or not 0 < lowest < highest < math.inf:
        raise TrainingError(
            f"a range test of {steps} steps from {lowest} to {highest}",
            allowed="at least 2 steps, and 0 < lowest < highest",
        )
    if features_from is not None:
        classifier = with_features_from(classifier, features_from)
    run = new_run(classifier, data, TrainingFolder(Path()), settings, make_accelerator(settings))
    main = run.accelerator.is_main_process
    rates: list[float] = []
    losses: list[float] = []
    reason = ""
    with (
        run.classifier.frozen(),
        naming_the_setting(BATCH_REMEDY),
        RangeTestLine(shown=progress and main and watch is None) as line,
    ):
        for step, batches in enumerate(itertools.islice(_endless_batches(run), steps)):
            rate = lowest * (highest / lowest) ** (step / (steps - 1))
            _set_rate(run, rate)
            try:
                loss = optimise(run, batches)["loss"]
            except NonFiniteLossError:
                reason = f"ended at rate {rate:.1e}, where the loss was no longer a number"
                break
            # What a loss draws at random depends on the step.
            run.step_done()
            rates.append(rate)
            losses.append(loss)
            line.show(step + 1, steps, rate, loss)
            if watch is not None and main:
                watch(step + 1, steps, rate, loss)
            # A bounded loss may be next to 0 or below.
            if not settings.objective.bounded and loss > _DIVERGED * min(losses):
                reason = f"ended at rate {rate:.1e}, where the loss was four times its best"
                break
    return judge(rates, losses, reason)


def write_learning_rate_plot(test: LearningRateTest, path: Path | str) -> None:
    """Write the plot as an SVG file, whole or not at all.

    Raises:
        OutputError: the disk is full or the place is not writable.
    """
    drawing = learning_rate_svg(
        test.rates, test.losses, test.smoothed_losses, test.suggested_rate, test.reason
    )
    with whole_file(path) as temporary:
        temporary.write_text(drawing, encoding="utf-8")


def judge(rates: Sequence[float], losses: Sequence[float], reason: str = "") -> LearningRateTest:
    """Smooth the losses and find where they fall fastest.

    Args:
        rates: growing by a constant factor.
        losses: one for each, finite.
        reason: why the test ended early, if it did.

    Example:
        >>> rates = [10.0 ** (i / 10 - 4) for i in range(31)]
        >>> losses = [3 - math.tanh((i - 15) / 4) for i in range(31)]
        >>> round(judge(rates, losses).suggested_rate, 4)
        0.0032
    """
    smoothed = _smooth(losses)
    suggestion, why_not = _steepest_fall(losses, smoothed)
    return LearningRateTest(
        rates=tuple(rates),
        losses=tuple(losses),
        smoothed_losses=tuple(smoothed),
        suggested_rate=None if suggestion is None else rates[suggestion],
        reason="; ".join(part for part in (why_not, reason) if part),
    )


def _set_rate(run: TrainingRun, rate: float) -> None:
    settings = run.settings.optimiser
    weights, biases = run.optimiser.param_groups
    weights["lr"] = rate
    biases["lr"] = rate * settings.bias_learning_rate_factor
    for group in (weights, biases):
        # Making the schedule has put the momentum where one-cycle begins.
        group.update(settings.moved_by_the_schedule)


def _endless_batches(run: TrainingRun) -> Iterator[list[PreparedBatch]]:
    for epoch in itertools.count():
        # The run's step counts on, so that every later epoch is a whole one, too.
        yield from run.batches_of_steps(epoch)


def _smooth(losses: Sequence[float]) -> list[float]:
    """Averages over the neighbours with Gaussian weights, which shift no fall to another rate."""
    reach = math.ceil(3 * _SMOOTHING)
    smoothed = []
    for centre in range(len(losses)):
        near = range(max(0, centre - reach), min(len(losses), centre + reach + 1))
        weights = [math.exp(-(((step - centre) / _SMOOTHING) ** 2) / 2) for step in near]
        total = sum(weight * losses[step] for weight, step in zip(weights, near, strict=True))
        smoothed.append(total / sum(weights))
    return smoothed


def _steepest_fall(losses: Sequence[float], smoothed: Sequence[float]) -> tuple[int | None, str]:
    """The step in whose middle the smoothed loss falls most, or why there is none.

    A fall counts if it is larger than twice the noise, the scatter of losses around the smoothed
    ones; smoothed noise alone wanders by about once to one and a half times.
    """
    if len(losses) < 3:
        return None, f"only {len(losses)} losses were finite"
    deviations = [loss - smooth for loss, smooth in zip(losses, smoothed, strict=True)]
    noise = max(statistics.pstdev(deviations), _ROUNDING * max(map(abs, losses)))
    highest_before = list(itertools.accumulate(smoothed, max))
    falls = [before - now for before, now in zip(highest_before, smoothed, strict=True)]
    if max(falls) <= 2 * noise:
        return None, f"the smoothed loss never falls by more than twice its noise, {noise:.2g}"
    slopes = [smoothed[step + 1] - smoothed[step - 1] for step in range(1, len(smoothed) - 1)]
    return 1 + slopes.index(min(slopes)), ""
