"""Everything a training run holds besides its loop: data, optimiser, checkpoints, processes."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from ttame.classifiers.any_classifier import Explainable
from ttame.classifiers.features_from import taken_apart
from ttame.datasets.prepared_images import PreparedBatch
from ttame.explainers.trained.attention_explainer import AttentionExplainer
from ttame.explainers.trained.head import Head
from ttame.processes import on_main_process
from ttame.training.batch_loss import BatchPlace
from ttame.training.batch_order import BatchOrder
from ttame.training.checkpoint import Checkpoint, RunIdentity, Workforce, save_checkpoint
from ttame.training.loss_parts import LossParts
from ttame.training.training_folder import TrainingFolder
from ttame.training.training_material import PreparedInputs, loader_of
from ttame.training.training_settings import TrainingSettings
from ttame.training.validation import mean_figures, measure_batches


@dataclasses.dataclass(eq=False)
class TrainingRun:
    """The parts of a run; made by ``run_preparation``, driven by the loop.

    Attributes:
        settings: the settings of the run.
        classifier: on the device of this process; perhaps with the features of another network.
        folder: where everything goes.
        identity: what a resumed run must share.
        accelerator: devices, precision, processes.
        head: as the accelerator wrapped it, to train.
        bare_head: the same head without a wrapper, in float32, to use and save.
        optimiser: as the accelerator wrapped it.
        schedule: steps with the optimiser.
        training_images: the part to train on.
        held_out: the part to validate on; ``None`` if there is a single image, or if none of the
            held-out ones is readable.
        order: which images come when.
        data_names: what the places of the data are called on the card.
        command: what makes the same run, on the command line or in Python.
        step: optimiser steps done.
        saved_step: steps that the last checkpoint holds.
        validation: figures per epoch.
        skipped: unreadable images, name to reason.
        notes: what a reader is to know of the run besides its settings.
    """

    settings: TrainingSettings
    classifier: Explainable
    folder: TrainingFolder
    identity: RunIdentity
    accelerator: Accelerator
    head: nn.Module
    bare_head: Head
    optimiser: AcceleratedOptimizer
    schedule: OneCycleLR
    training_images: PreparedInputs
    held_out: PreparedInputs | None
    order: BatchOrder
    data_names: tuple[str, ...]
    command: str
    step: int = 0
    saved_step: int = 0
    validation: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def workforce(self) -> Workforce:
        """The processes and devices that do the run."""
        return Workforce.of(self.accelerator.num_processes, self.accelerator.device)

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of an epoch."""
        return self.order.steps_per_epoch

    @property
    def steps(self) -> int:
        """Optimiser steps of the run."""
        return self.steps_per_epoch * self.settings.run.epochs

    @property
    def epochs_left(self) -> range:
        """The epochs with steps that are still to be done, from 0."""
        return range(self.step // self.steps_per_epoch, self.settings.run.epochs)

    @property
    def epoch_is_over(self) -> bool:
        """Whether the step just done was the last one of its epoch."""
        return self.step % self.steps_per_epoch == 0

    def batches_of_steps(self, epoch: int) -> Iterator[list[PreparedBatch]]:
        """This process's share of every optimiser step that is left in an epoch.

        A step has as many batches as are accumulated, one if none are.
        """
        self.training_images.set_epoch(epoch)
        first_step = max(0, self.step - epoch * self.steps_per_epoch)
        order = dataclasses.replace(self.order, epoch=epoch, first_step=first_step)
        loader = loader_of(self.training_images, order, self.settings.run.workers)
        batches = iter(loader)
        while step := list(itertools.islice(batches, order.parts)):
            yield step

    def gather_labels(self, labels: Tensor) -> Tensor:
        """The labels of all processes, in the order of the whole batch."""
        gathered: Tensor = self.accelerator.gather(labels)
        return gathered

    def average(self, loss: LossParts) -> dict[str, float]:
        """The loss parts as numbers, averaged over the processes; ``"loss"`` is their sum."""
        parts = torch.stack(list(loss.weighted.values())).detach().float()
        numbers = self.accelerator.reduce(parts, reduction="mean").tolist()
        return {"loss": sum(numbers), **dict(zip(loss.weighted, numbers, strict=True))}

    def place(self, share: int, part: int) -> BatchPlace:
        """Where this process's share of a batch stands.

        What it draws at random depends on the step and the accumulated part alone, so that all
        processes and a resumed run draw the same.

        Args:
            share: images that every process has.
            part: number of the batch among those accumulated in the step.
        """
        process = int(self.accelerator.process_index)
        numbers = (self.settings.run.seed, self.step, part)
        words = hashlib.sha256(repr(numbers).encode()).digest()[:7]
        return BatchPlace(
            generator=torch.Generator().manual_seed(int.from_bytes(words, "big")),
            gather_labels=self.gather_labels,
            first_image=process * share,
            wrapped_head=self.head,
        )

    def follow(self, maps: Tensor) -> None:
        """Let the head learn from the whole batch what no gradient teaches.

        Args:
            maps: (B, 1, h, w) of this process, before any activation.
        """
        self.bare_head.follow(maps, self.accelerator.gather)

    def step_done(self) -> None:
        """Count an optimiser step."""
        self.step += 1

    def note_skipped(self, skipped: Sequence[tuple[str, str]]) -> None:
        """Remember unreadable images."""
        self.skipped.update(dict(skipped))

    def validate(self, epoch: int) -> dict[str, float] | None:
        """Validate on the held-out images, each process on its share; ``None`` without any."""
        if self.held_out is None:
            return None
        measured = self._gather(
            measure_batches(
                self.classifier,
                self.bare_head,
                self.held_out,
                self.settings,
                process=self.accelerator.process_index,
                processes=self.accelerator.num_processes,
            )
        )
        for batch in measured:
            self.skipped.update(batch.skipped)
        figures = mean_figures(measured)
        self.validation.append({"epoch": epoch, **figures})
        return figures

    def save_checkpoint(self) -> None:
        """Write the whole state, from the main process."""
        self._share_skipped()
        scaler = self.accelerator.scaler

        def write() -> None:
            save_checkpoint(
                self.folder.checkpoint_file,
                step=self.step,
                identity=self.identity,
                workforce=self.workforce,
                head=self.bare_head,
                optimiser=self.optimiser,
                schedule=self.schedule,
                validation=self.validation,
                skipped=self.skipped,
                scaler=scaler.state_dict() if scaler is not None else {},
                notes=self.notes,
            )

        on_main_process(self.accelerator, write)
        self.saved_step = self.step

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on where ``checkpoint`` was written.

        Raises:
            ResumeError: it belongs to another run.
        """
        self.identity.refuse_other(checkpoint.identity)
        checkpoint.restore(self.bare_head, self.optimiser, self.schedule)
        scaler = self.accelerator.scaler
        if scaler is not None and checkpoint.described["scaler"]:
            scaler.load_state_dict(dict(checkpoint.described["scaler"]))
        self.step = self.saved_step = checkpoint.step
        self.validation = list(checkpoint.described["validation"])
        self.skipped.update(checkpoint.described["skipped"])
        self.notes = checkpoint.notes
        before = checkpoint.workforce
        if before is not None and (note := self.workforce.going_on_for(before)):
            self.notes.append(note)

    def finish(self) -> AttentionExplainer:
        """Save the explainer, remove the checkpoint, and hand the explainer over."""
        self._share_skipped()
        explained: Any
        explained, other = taken_apart(self.classifier)
        explainer = AttentionExplainer(
            explained,
            self.bare_head,
            method=self.settings.method,
            training=self._record(),
            features_from=other,
        )

        on_main_process(self.accelerator, lambda: self.folder.complete(explainer.write_files))
        return explainer

    def _gather(self, items: list[Any]) -> list[Any]:
        """The items of all processes."""
        return list(gather_object(items)) if self.accelerator.num_processes > 1 else items

    def _share_skipped(self) -> None:
        self.skipped.update(self._gather(list(self.skipped.items())))

    def _record(self) -> dict[str, Any]:
        """What the card says about the training."""
        return {
            "settings": self.settings.as_json(),
            "command": self.command,
            "data": " ".join(self.data_names),
            "data_fingerprint": self.identity.data,
            "training_images": len(self.training_images),
            "held_out_images": len(self.held_out) if self.held_out is not None else 0,
            "skipped_images": dict(sorted(self.skipped.items())),
            "steps": self.step,
            "processes": self.accelerator.num_processes,
            "device": str(self.accelerator.device),
            "notes": self.notes,
            "validation": self.validation,
            "finished": datetime.datetime.now(datetime.UTC).date().isoformat(),
        }
