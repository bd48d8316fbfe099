"""Everything a training run holds besides its loop: data, optimiser, checkpoints, processes."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, Dataset

from ttame.atomic_writing import refuse_existing
from ttame.classifiers.classifier import Classifier
from ttame.datasets.held_out_split import split_held_out
from ttame.datasets.open_photos import open_photos
from ttame.datasets.photo_source import PhotoSource
from ttame.datasets.prepared_images import Augmentation, PreparedBatch, PreparedImages, collate
from ttame.errors import OutputError, TrainingError
from ttame.explainers.attention.attention_explainer import (
    AttentionExplainer,
    new_attention_explainer,
)
from ttame.explainers.attention.attention_head import AttentionHead
from ttame.explainers.attention.explainer_folder import write_explainer_files
from ttame.training.attention_objective import ObjectiveParts
from ttame.training.batch_order import BatchOrder
from ttame.training.checkpoint import RunIdentity, load_checkpoint, save_checkpoint
from ttame.training.optimisation import make_optimiser, make_schedule
from ttame.training.training_settings import TrainingSettings, train_command

CHECKPOINT_FILE = "checkpoint.safetensors"
LOG_FILE = "training.jsonl"


@dataclasses.dataclass(eq=False)
class TrainingRun:
    """The parts of a run; made by :func:`prepare_run`, driven by the loop.

    Attributes:
        settings: of the run.
        classifier: on the device of this process.
        folder: where everything goes.
        identity: what a resumed run must share.
        accelerator: devices, precision, processes.
        head: as the accelerator wrapped it.
        bare_head: the same head without a wrapper.
        optimiser: as the accelerator wrapped it.
        schedule: steps with the optimiser.
        training_images: the part to train on.
        held_out: the part to validate on; ``None`` if there is a single image.
        order: which images come when.
        step: optimiser steps done.
        saved_step: steps that the last checkpoint holds.
        validation: figures per epoch.
        skipped: unreadable images, name to reason.
        data_name: what the data is called on the card.
    """

    settings: TrainingSettings
    classifier: Classifier
    folder: Path
    identity: RunIdentity
    accelerator: Accelerator
    head: torch.nn.Module
    bare_head: AttentionHead
    optimiser: Optimizer
    schedule: OneCycleLR
    training_images: PreparedImages
    held_out: PreparedImages | None
    order: BatchOrder
    data_name: str
    step: int = 0
    saved_step: int = 0
    validation: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of an epoch."""
        return self.order.steps_per_epoch

    @property
    def steps(self) -> int:
        """Optimiser steps of the run."""
        return self.steps_per_epoch * self.settings.epochs

    @property
    def log_file(self) -> Path:
        """Where every step leaves a line."""
        return self.folder / LOG_FILE

    def batches(self, epoch: int) -> Iterator[PreparedBatch]:
        """This process's share of the batches of an epoch that are still to be trained on."""
        self.training_images.set_epoch(epoch)
        first_step = max(0, self.step - epoch * self.steps_per_epoch)
        order = dataclasses.replace(self.order, epoch=epoch, first_step=first_step)
        yield from DataLoader(
            self.training_images,
            batch_sampler=order,
            collate_fn=collate,
            num_workers=self.settings.workers,
        )

    def gather_labels(self, labels: Tensor) -> Tensor:
        """The labels of all processes, in the order of the whole batch."""
        gathered: Tensor = self.accelerator.gather(labels)
        return gathered

    def first_image(self, share: int) -> int:
        """Where this process's images begin in the whole batch."""
        return int(self.accelerator.process_index) * share

    def average(self, loss: ObjectiveParts) -> dict[str, float]:
        """The loss parts as numbers, averaged over the processes."""
        parts = torch.stack([loss.cross_entropy, loss.area, loss.smoothness]).detach().float()
        parts = self.accelerator.reduce(parts, reduction="mean")
        cross_entropy, area, smoothness = parts.tolist()
        return {
            "loss": cross_entropy + area + smoothness,
            "cross_entropy": cross_entropy,
            "area": area,
            "smoothness": smoothness,
        }

    def note_skipped(self, skipped: Sequence[tuple[str, str]]) -> None:
        """Remember unreadable images."""
        self.skipped.update(dict(skipped))

    def save_checkpoint(self) -> None:
        """Write the whole state, from the main process."""
        if self.accelerator.is_main_process:
            scaler = self.accelerator.scaler
            save_checkpoint(
                self.folder / CHECKPOINT_FILE,
                step=self.step,
                identity=self.identity,
                head=self.bare_head,
                optimiser=self.optimiser,
                schedule=self.schedule,
                validation=self.validation,
                skipped=self.skipped,
                scaler=scaler.state_dict() if scaler is not None else {},
            )
        self.saved_step = self.step

    def finish(self) -> AttentionExplainer:
        """Save the explainer, remove the checkpoint, and hand the explainer over."""
        self._gather_skipped()
        explainer = AttentionExplainer(
            self.classifier,
            self.bare_head,
            method=self.settings.method,
            training=self._record(),
        )
        if self.accelerator.is_main_process:
            write_explainer_files(explainer, self.folder)
            (self.folder / CHECKPOINT_FILE).unlink(missing_ok=True)
        self.accelerator.wait_for_everyone()
        return explainer

    def _gather_skipped(self) -> None:
        if self.accelerator.num_processes > 1:
            from accelerate.utils import gather_object

            for name, reason in gather_object(list(self.skipped.items())):
                self.skipped[name] = reason

    def _record(self) -> dict[str, Any]:
        """What the card says about the training."""
        return {
            "settings": self.settings.as_json(),
            "command": train_command(
                self.settings, self.classifier.name, self.data_name, str(self.folder)
            ),
            "data": self.data_name,
            "data_fingerprint": self.identity.data,
            "training_images": len(self.training_images),
            "held_out_images": len(self.held_out) if self.held_out is not None else 0,
            "skipped_images": dict(sorted(self.skipped.items())),
            "steps": self.step,
            "processes": self.accelerator.num_processes,
            "device": str(self.accelerator.device),
            "validation": self.validation,
            "finished": datetime.datetime.now(datetime.UTC).date().isoformat(),
        }


def prepare_run(
    classifier: Classifier,
    data: str | Path | PhotoSource | Dataset[Any],
    folder: Path,
    settings: TrainingSettings,
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> TrainingRun:
    """Set a run up, or pick one up where its checkpoint left it.

    Raises:
        OutputError: the folder holds something and neither ``resume`` nor ``overwrite`` is set.
        DatasetError: no images.
        TrainingError: fewer images than a batch, or a batch that the processes cannot share.
        ResumeError: the checkpoint belongs to another run.
    """
    checkpoint_file = folder / CHECKPOINT_FILE
    accelerator = _accelerator(settings)
    if accelerator.is_main_process:
        _check_folder(folder, resume=resume, overwrite=overwrite)
    accelerator.wait_for_everyone()
    classifier.network.to(accelerator.device)
    if settings.last_tap_only:
        classifier = classifier.with_taps(classifier.taps[-1:])

    photos = open_photos(data)
    training_images, held_out = _split(photos, classifier, settings)
    order = BatchOrder(
        images=len(training_images),
        batch_size=settings.batch_size,
        parts=settings.gradient_accumulation,
        processes=accelerator.num_processes,
        process=accelerator.process_index,
        seed=settings.seed,
    )
    _check_batches(order)

    explainer = new_attention_explainer(
        classifier, settings.head_settings, method=settings.method, seed=settings.seed
    )
    bare_head = explainer.head.train()
    optimiser = make_optimiser(bare_head, settings)
    schedule = make_schedule(optimiser, settings, order.steps_per_epoch * settings.epochs)
    head, wrapped_optimiser = accelerator.prepare(bare_head, optimiser)
    run = TrainingRun(
        settings=settings,
        classifier=classifier,
        folder=folder,
        identity=RunIdentity(
            settings=settings.as_json(),
            data=photos.fingerprint(),
            classifier=classifier.fingerprint(),
            taps=tuple(tap.layer for tap in classifier.taps),
        ),
        accelerator=accelerator,
        head=head,
        bare_head=bare_head,
        optimiser=wrapped_optimiser,
        schedule=schedule,
        training_images=training_images,
        held_out=held_out,
        order=order,
        data_name=_data_name(data),
    )
    if resume and checkpoint_file.exists():
        _restore(run, checkpoint_file)
    return run


def _data_name(data: Any) -> str:
    """What the card calls the data: its place or places as typed, or the kind of object."""
    if isinstance(data, str | Path):
        return str(data)
    if isinstance(data, list | tuple) and all(isinstance(place, str | Path) for place in data):
        return " ".join(str(place) for place in data)
    return type(data).__name__


def _restore(run: TrainingRun, checkpoint_file: Path) -> None:
    checkpoint = load_checkpoint(checkpoint_file, run.accelerator.device)
    run.identity.refuse_other(checkpoint.identity)
    checkpoint.restore(run.bare_head, run.optimiser, run.schedule)
    if run.accelerator.scaler is not None and checkpoint.described["scaler"]:
        run.accelerator.scaler.load_state_dict(dict(checkpoint.described["scaler"]))
    run.step = run.saved_step = checkpoint.step
    run.validation = list(checkpoint.described["validation"])
    run.skipped = dict(checkpoint.described["skipped"])


def _check_folder(folder: Path, *, resume: bool, overwrite: bool) -> None:
    if resume:
        if (folder / "config.json").exists() and not (folder / CHECKPOINT_FILE).exists():
            raise OutputError(
                f"the training in {folder} is complete", remedy="another --out, or --overwrite"
            )
    elif (folder / CHECKPOINT_FILE).exists() and not overwrite:
        raise OutputError(
            f"folder {folder} holds an unfinished training",
            remedy="--resume, or another --out, or --overwrite",
        )
    else:
        refuse_existing(folder, overwrite=overwrite)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not resume:
            for name in (CHECKPOINT_FILE, "config.json"):
                (folder / name).unlink(missing_ok=True)
    except OSError as problem:
        raise OutputError(f"cannot write {folder} ({problem})") from problem


def _accelerator(settings: TrainingSettings) -> Accelerator:
    try:
        return Accelerator(
            mixed_precision=settings.mixed_precision,
            gradient_accumulation_steps=settings.gradient_accumulation,
        )
    except ValueError as problem:
        raise TrainingError(
            f"mixed precision {settings.mixed_precision} ({problem})",
            remedy="a new process, or --mixed-precision no",
        ) from problem


def _split(
    photos: PhotoSource, classifier: Classifier, settings: TrainingSettings
) -> tuple[PreparedImages, PreparedImages | None]:
    share = min(settings.held_out_share, settings.held_out_at_most / max(len(photos), 1))
    training, held_out = split_held_out(len(photos), share, settings.seed)
    images = PreparedImages(
        photos,
        classifier.preprocessing,
        training,
        augmentation=augmentation(classifier, settings),
        seed=settings.seed,
    )
    if not held_out:
        return images, None
    return images, PreparedImages(photos, classifier.preprocessing, held_out)


def augmentation(classifier: Classifier, settings: TrainingSettings) -> Augmentation:
    """Resolve ``"by family"``: crops and flips for Vision Transformers, none for all others."""
    if settings.augmentation != "by family":
        return settings.augmentation
    return "random crop and flip" if classifier.family == "Vision Transformer" else "none"


def _check_batches(order: BatchOrder) -> None:
    if order.images < order.batch_size:
        raise TrainingError(
            f"{order.images} images to train on, fewer than a batch of {order.batch_size}",
            remedy=f"--batch-size {order.images}",
        )
    if order.batch_size % (order.parts * order.processes):
        raise TrainingError(
            f"a batch of {order.batch_size} for {order.processes} processes and "
            f"{order.parts} accumulated parts",
            allowed=f"a multiple of {order.parts * order.processes}",
        )
