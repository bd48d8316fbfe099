"""The training loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ttame.classifiers.any_classifier import AnyClassifier, Explainable
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.features_from import with_features_from
from ttame.classifiers.given_network import classifier_of
from ttame.datasets.prepared_images import PreparedBatch
from ttame.errors import (
    NonFiniteLossError,
    TrainingError,
    UnknownNameError,
    kind_of,
    setting,
)
from ttame.explainers.contract.differentiation import differentiating
from ttame.explainers.trained.attention_explainer import AttentionExplainer
from ttame.explainers.trained.settings_part import leaves_of
from ttame.files.sole_use import FolderUse
from ttame.memory_limit import SMALLER_BATCH, naming_the_setting
from ttame.networks.giving_back import gives_everything_back
from ttame.processes import noticing_lost_processes
from ttame.progress.progress_line import nothing_shown
from ttame.training.batch_loss import batch_loss
from ttame.training.mixed_precision import in_mixed_precision
from ttame.training.run_preparation import TrainingData, prepare_run
from ttame.training.training_line import TrainingLine
from ttame.training.training_progress import StepClock, TrainingLog, TrainingProgress
from ttame.training.training_run import TrainingRun
from ttame.training.training_settings import TrainingSettings, training_settings

Watch = Callable[[TrainingProgress], None]

BATCH_REMEDY = f"{SMALLER_BATCH}, a larger gradient_accumulation, or fewer workers"


@gives_everything_back
def train_explainer(
    classifier: Explainable,
    data: TrainingData,
    folder: str | Path,
    settings: TrainingSettings = training_settings(),  # noqa: B008 - frozen
    *,
    features_from: Classifier | nn.Module | None = None,
    resume: bool = False,
    overwrite: bool = False,
    watch: Watch | None = None,
    progress: bool = True,
    **typed: Any,
) -> AttentionExplainer:
    """Train an attention head for a classifier, and save it.

    No labels are needed: the classifier's own prediction on the unmasked image is the target. A
    step is one forward pass without gradient (features and target), one forward pass of the
    masked images, and one backward pass through the frozen classifier to the mask.

    Args:
        classifier: stays as it is, in eval mode throughout; it moves to the accelerator.
        data: an image folder, a list file, tar shards, several of these, or a ``torch`` dataset
            of images.
        folder: gets ``training.jsonl``, ``checkpoint.safetensors`` while training runs, and the
            explainer at the end.
        settings: see :func:`training_settings` for the presets.
        features_from: another network, which sees the same images and whose features the head
            reads (P-TAME); it stays as it is, too. The classifier itself is then only asked for
            its scores.
        resume: continue from the checkpoint in ``folder``, if there is one.
        overwrite: train from scratch even if ``folder`` is not empty. An explainer there stays
            until the new one is complete; the new training runs in its sub-folder ``unfinished``.
        watch: called after every optimiser step.
        progress: whether to show a line that says how far it is, and one of figures per epoch;
            not where there is a ``watch``.
        **typed: nothing; a setting that stands here is refused with the place where it belongs.

    Returns:
        The trained explainer, which :func:`ttame.load_explainer` also loads from ``folder``.

    Raises:
        DatasetError: no readable images.
        OutputError: the folder exists, cannot be written, or another run is writing it.
        TrainingError: settings that do not fit the data or the processes.
        ClassifierError: a network instead of a classifier.
        ExplainerError: a method that does not fit the classifier, or a network through which no
            gradient goes.
        ResumeError: the checkpoint belongs to a run with other settings, images or weights.
        NonFiniteLossError: the loss became NaN or infinite; the last checkpoint is kept.
        MemoryLimitError: a batch does not fit into memory.
        LostProcessError: another of several processes has ended.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from torch.utils.data import TensorDataset
        >>> from ttame.testing import tiny_classifier
        >>> classifier = tiny_classifier(size=32)
        >>> photos = TensorDataset(torch.randint(256, (20, 3, 32, 32), dtype=torch.uint8))
        >>> settings = training_settings("few-shot", epochs=1, batch_size=6, workers=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     explainer = train_explainer(classifier, photos, folder + "/explainer", settings)
        >>> explainer(torch.zeros(2, 3, 32, 32), "all").maps.shape
        torch.Size([2, 5, 16, 16])
    """
    _refuse_other_arguments(settings, typed)
    if not isinstance(classifier, AnyClassifier):
        classifier = classifier_of(classifier)
    if features_from is not None:
        classifier = with_features_from(classifier, features_from)
    # Notebooks switch gradients off for good.
    with (
        differentiating(),
        noticing_lost_processes(),
        naming_the_setting(BATCH_REMEDY),
        FolderUse(Path(folder)) as use,
    ):
        run = prepare_run(
            classifier, data, Path(folder), settings, use, resume=resume, overwrite=overwrite
        )
        if watch is not None or not progress:
            with nothing_shown():
                return _train(run, settings, watch)
        with TrainingLine(classifier.name, settings) as line:
            return _train(run, settings, line.show)


def _refuse_other_arguments(settings: object, typed: Mapping[str, Any]) -> None:
    if typed:
        name, value = next(iter(typed.items()))
        known = {flat for flat, *_ in leaves_of(TrainingSettings)}
        if name not in known:
            raise UnknownNameError.of("argument or setting", name, known)
        raise TrainingError(
            f"{name}={value!r:.60} of train_explainer, which is a setting",
            remedy="train_explainer(classifier, data, folder, "
            f"ttame.training_settings({name}={value!r:.60}))",
        )
    if not isinstance(settings, TrainingSettings):
        raise TrainingError(
            f"{kind_of(settings)} as settings",
            allowed="ttame.training_settings(...)",
            remedy=f"ttame.training_settings({settings!r:.60})"
            if isinstance(settings, str)
            else "",
        )


def _train(run: TrainingRun, settings: TrainingSettings, watch: Watch | None) -> AttentionExplainer:
    main = run.accelerator.is_main_process
    log = TrainingLog(run.folder.log_file, keep_steps=run.step, enabled=main)
    clock = StepClock(settings.run.batch_size)
    with run.classifier.frozen(), log:
        for epoch in run.epochs_left:
            clock.pause_ended()
            for batches in run.batches_of_steps(epoch):
                rate = run.optimiser.param_groups[0]["lr"]
                parts = optimise(run, batches)
                # A step that the loss scaling of fp16 leaves out is none for the schedule either.
                if not run.optimiser.step_was_skipped:
                    run.schedule.step()
                run.step_done()
                log.write({"step": run.step, "epoch": epoch, **parts, "lr": rate})
                speed = clock.tick()
                validation = None
                if run.epoch_is_over:
                    validation = _validate(run, log, epoch)
                if run.epoch_is_over or run.step % settings.run.checkpoint_every == 0:
                    _refuse_broken_weights(run)
                    run.save_checkpoint()
                if watch is not None and main:
                    watch(_progress(run, epoch, parts, rate, speed, validation))
    return run.finish()


def optimise(run: TrainingRun, batches: Sequence[PreparedBatch]) -> dict[str, float]:
    """Do one optimiser step on the batches that are accumulated in it, usually one.

    Returns:
        The loss parts, averaged over batches and processes.

    Raises:
        NonFiniteLossError: before anything is changed by a loss that is not a number.
    """
    parts = []
    for part, batch in enumerate(batches):
        images = batch.images.to(run.classifier.device)
        place = run.place(len(images), part)
        with run.accelerator.accumulate(run.head):
            with in_mixed_precision(run.accelerator):
                loss = batch_loss(
                    run.classifier, run.bare_head, images, run.settings.objective, place
                )
            parts.append(run.average(loss.parts))
            _refuse_non_finite(run, run.step + 1, "the loss", parts[-1])
            run.follow(loss.maps)
            run.accelerator.backward(loss.parts.total)
            run.optimiser.step()
            run.optimiser.zero_grad()
        run.note_skipped(batch.skipped)
    return {name: sum(part[name] for part in parts) / len(parts) for name in parts[0]}


def _validate(run: TrainingRun, log: TrainingLog, epoch: int) -> dict[str, float] | None:
    figures = run.validate(epoch)
    if figures is not None:
        _refuse_non_finite(run, run.step, "validation", figures)
        log.write({"step": run.step, "epoch": epoch, "validation": figures})
    return figures


def _refuse_broken_weights(run: TrainingRun) -> None:
    """The loss was finite, but its gradient need not have been."""
    sums = {name: float(tensor.sum()) for name, tensor in run.bare_head.state_dict().items()}
    _refuse_non_finite(run, run.step, "a weight of the head", sums)


def _refuse_non_finite(
    run: TrainingRun, step: int, what: str, numbers: Mapping[str, float]
) -> None:
    """Stop before NaN or infinity gets into weights, log or checkpoint."""
    broken = [name for name, value in numbers.items() if not math.isfinite(value)]
    if not broken:
        return
    kept = f"the state after step {run.saved_step} is kept in {run.folder.place}"
    other = f", or {setting('mixed_precision', 'no')}"
    precision = other if run.settings.run.mixed_precision != "no" else ""
    raise NonFiniteLossError(
        f"{what} became {numbers[broken[0]]} at step {step} ({', '.join(broken)}); "
        + (kept if run.saved_step else "no checkpoint had been written yet"),
        remedy=f"a lower {setting('learning_rate')} with {setting('overwrite', True)}{precision}",
    )


def _progress(
    run: TrainingRun,
    epoch: int,
    parts: dict[str, float],
    learning_rate: float,
    images_per_second: float,
    validation: dict[str, float] | None,
) -> TrainingProgress:
    left = (run.steps - run.step) * run.settings.run.batch_size / images_per_second
    return TrainingProgress(
        step=run.step,
        steps=run.steps,
        epoch=epoch,
        epochs=run.settings.run.epochs,
        parts=parts,
        learning_rate=learning_rate,
        images_per_second=images_per_second,
        seconds_left=left,
        validation=validation,
        notes=tuple(run.notes),
    )
