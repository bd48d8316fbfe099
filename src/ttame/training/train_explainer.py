"""The training loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from ttame.classifiers.classifier import Classifier
from ttame.datasets.photo_source import PhotoSource
from ttame.errors import NonFiniteLossError
from ttame.explainers.attention.attention_explainer import AttentionExplainer, head_input
from ttame.memory_limit import naming_the_setting
from ttame.training.attention_objective import objective, own_maps, selected_classes
from ttame.training.masked_pass import masked_logits
from ttame.training.training_progress import StepClock, TrainingLog, TrainingProgress
from ttame.training.training_run import TrainingRun, prepare_run
from ttame.training.training_settings import TrainingSettings
from ttame.training.validation import validate

Watch = Callable[[TrainingProgress], None]


def train_explainer(
    classifier: Classifier,
    data: str | Path | PhotoSource | Dataset[Any],
    folder: str | Path,
    settings: TrainingSettings = TrainingSettings(),  # noqa: B008 - frozen
    *,
    resume: bool = False,
    overwrite: bool = False,
    watch: Watch | None = None,
) -> AttentionExplainer:
    """Train an attention head for a classifier, and save it.

    No labels are needed: the classifier's own prediction on the unmasked image is the target. A
    step is one forward pass without gradient (features and target), one forward pass of the
    masked images, and one backward pass through the frozen classifier to the mask.

    Args:
        classifier: stays as it is, in eval mode throughout.
        data: an image folder, a list file, tar shards, or a ``torch`` dataset of images.
        folder: gets ``training.jsonl``, ``checkpoint.safetensors`` while training runs, and the
            explainer at the end.
        settings: see :func:`training_settings` for the presets.
        resume: continue from the checkpoint in ``folder``, if there is one.
        overwrite: train anew even if ``folder`` holds something.
        watch: called after every optimiser step.

    Returns:
        The trained explainer, which :func:`ttame.load_explainer` also loads from ``folder``.

    Raises:
        DatasetError: no readable images.
        OutputError: the folder exists, or cannot be written.
        ResumeError: the checkpoint belongs to a run with other settings, images or weights.
        NonFiniteLossError: the loss became NaN or infinite; the last checkpoint is kept.
        MemoryLimitError: a batch does not fit into memory.
    """
    run = prepare_run(classifier, data, Path(folder), settings, resume=resume, overwrite=overwrite)
    classifier = run.classifier
    log = TrainingLog(run.log_file, keep_steps=run.step, enabled=run.accelerator.is_main_process)
    clock = StepClock(settings.batch_size)
    remedy = "a smaller --batch-size, or --gradient-accumulation 2"
    with classifier.frozen(), log, naming_the_setting(remedy):
        for epoch in range(run.step // run.steps_per_epoch, settings.epochs):
            clock.pause_ended()
            parts_of_step: list[dict[str, float]] = []
            for batch in run.batches(epoch):
                images = batch.images.to(classifier.device)
                with run.accelerator.accumulate(run.head), run.accelerator.autocast():
                    with torch.no_grad():
                        reading = classifier.read_features(images)
                    labels = reading.logits.argmax(dim=1)
                    all_labels = run.gather_labels(labels)
                    classes = selected_classes(reading.logits, all_labels, settings.map_selection)
                    features = head_input(reading, settings.head_settings)
                    maps = run.head(features, classes).float().sigmoid()
                    own = own_maps(maps, settings.map_selection, run.first_image(len(images)))
                    logits = masked_logits(classifier, images, own, settings).float()
                    loss = objective(maps, logits, labels, settings)
                    parts_of_step.append(run.average(loss))
                    _refuse_non_finite(parts_of_step[-1], run)
                    run.accelerator.backward(loss.total)
                    learning_rate = run.optimiser.param_groups[0]["lr"]
                    run.optimiser.step()
                    run.optimiser.zero_grad()
                run.note_skipped(batch.skipped)
                if not run.accelerator.sync_gradients:
                    continue
                run.schedule.step()
                run.step += 1
                parts = _mean(parts_of_step)
                parts_of_step = []
                log.write({"step": run.step, "epoch": epoch, **parts, "lr": learning_rate})
                last_of_epoch = run.step % run.steps_per_epoch == 0
                if run.step % settings.checkpoint_every == 0 and not last_of_epoch:
                    run.save_checkpoint()
                validation = None
                if last_of_epoch:
                    validation = _validate(run, log, epoch)
                    run.save_checkpoint()
                if watch is not None and run.accelerator.is_main_process:
                    watch(_progress(run, epoch, parts, learning_rate, clock.tick(), validation))
    return run.finish()


def _refuse_non_finite(parts: dict[str, float], run: TrainingRun) -> None:
    broken = [name for name, value in parts.items() if name != "loss" and not math.isfinite(value)]
    if not broken and math.isfinite(parts["loss"]):
        return
    raise NonFiniteLossError(
        f"the loss became {parts['loss']} at step {run.step + 1} ({', '.join(broken) or 'sum'}); "
        f"the state after step {run.saved_step} is kept in {run.folder}",
        remedy="a lower --learning-rate, or --mixed-precision no",
    )


def _mean(parts: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(part[name] for part in parts) / len(parts) for name in parts[0]}


def _validate(run: TrainingRun, log: TrainingLog, epoch: int) -> dict[str, float] | None:
    """Validate on the main process; the others go on and wait at the next exchange."""
    if run.held_out is None or not run.accelerator.is_main_process:
        return None
    figures = validate(run.classifier, run.bare_head, run.held_out, run.settings)
    run.validation.append({"epoch": epoch, **figures})
    log.write({"step": run.step, "epoch": epoch, "validation": figures})
    return figures


def _progress(
    run: TrainingRun,
    epoch: int,
    parts: dict[str, float],
    learning_rate: float,
    images_per_second: float,
    validation: dict[str, float] | None,
) -> TrainingProgress:
    left = (run.steps - run.step) * run.settings.batch_size / images_per_second
    return TrainingProgress(
        step=run.step,
        steps=run.steps,
        epoch=epoch,
        epochs=run.settings.epochs,
        parts=parts,
        learning_rate=learning_rate,
        images_per_second=images_per_second,
        seconds_left=left,
        validation=validation,
    )
