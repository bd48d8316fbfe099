"""A training run in one file, without pickle."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ttame.atomic_writing import write_tensors
from ttame.errors import ResumeError
from ttame.training.training_settings import TrainingSettings

SCHEMA_VERSION = 1


@dataclasses.dataclass(frozen=True)
class RunIdentity:
    """What must be the same when a run is resumed.

    Attributes:
        settings: the training settings as JSON; those that a checkpoint does not have yet had
            their default value when it was written.
        data: fingerprint of the image names.
        classifier: fingerprint of the weights.
        taps: layer names.
        preprocessing: of the classifier, as JSON; not in checkpoints of the first version.
    """

    settings: Mapping[str, Any]
    data: str
    classifier: str
    taps: tuple[str, ...]
    preprocessing: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def refuse_other(self, other: RunIdentity) -> None:
        """Raise if a checkpoint of ``other`` cannot be continued by this run.

        Raises:
            ResumeError: names what differs.
        """
        before = {**TrainingSettings().as_json(), **other.settings}
        changed = [
            f"{name} was {before[name]!r}, now {value!r}"
            for name, value in self.settings.items()
            # How often to save and how many processes read changes no result.
            if name not in ("checkpoint_every", "workers") and before[name] != value
        ]
        if other.data != self.data:
            changed.append("other images")
        if other.classifier != self.classifier:
            changed.append("a classifier with other weights")
        if tuple(other.taps) != tuple(self.taps):
            changed.append(f"taps were {', '.join(other.taps)}, now {', '.join(self.taps)}")
        changed += [
            f"{name.replace('_', ' ')} was {value!r}, now {self.preprocessing.get(name)!r}"
            for name, value in other.preprocessing.items()
            if self.preprocessing.get(name) != value
        ]
        if changed:
            raise ResumeError(
                f"the checkpoint belongs to another run ({'; '.join(changed)})",
                remedy="the same options as before, or another --out",
            )


@dataclasses.dataclass(frozen=True)
class Workforce:
    """What computes. Another one does the same steps, but rounds differently.

    Attributes:
        processes: that share each batch.
        device: of each, in words.
        threads: of each, where it computes on the CPU.
        torch_version: what calculates.
    """

    processes: int
    device: str
    threads: int | None
    torch_version: str

    @classmethod
    def of(cls, processes: int, device: torch.device) -> Workforce:
        """The one that this process belongs to."""
        on_cpu = device.type == "cpu"
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        return cls(
            processes=processes,
            device="the CPU" if on_cpu else name,
            threads=torch.get_num_threads() if on_cpu else None,
            torch_version=torch.__version__,
        )

    def __str__(self) -> str:
        several = "es" * (self.processes > 1)
        words = f"{self.processes} process{several} on {self.device}"
        if self.threads is not None:
            each = " each" * (self.processes > 1)
            words += f" with {self.threads} thread{'s' * (self.threads > 1)}{each}"
        return f"{words}, torch {self.torch_version}"

    def going_on_for(self, other: Workforce) -> str:
        """What differs when this one goes on for another; empty if nothing does."""
        if self == other:
            return ""
        return (
            f"the checkpoint is of {other}; now {self}: images, their order, random numbers and "
            "learning rates stay the same, but sums are rounded differently, so the weights will "
            "not be bit for bit those of an undisturbed run"
        )


def save_checkpoint(
    path: Path,
    *,
    step: int,
    identity: RunIdentity,
    workforce: Workforce,
    head: nn.Module,
    optimiser: Optimizer,
    schedule: LRScheduler,
    validation: list[dict[str, Any]],
    skipped: Mapping[str, str],
    scaler: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> None:
    """Write the state after ``step`` optimiser steps, whole or not at all.

    Raises:
        OutputError: the disk is full or the place is not writable.
    """
    tensors = {f"head.{name}": tensor for name, tensor in head.state_dict().items()}
    state = optimiser.state_dict()
    numbers: dict[str, dict[str, Any]] = {}
    for index, entries in state["state"].items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"optimiser.{index}.{key}"] = value
            else:
                numbers.setdefault(str(index), {})[key] = value
    described = {
        "schema_version": SCHEMA_VERSION,
        "step": step,
        "identity": dataclasses.asdict(identity),
        "workforce": dataclasses.asdict(workforce),
        "optimiser_numbers": numbers,
        "optimiser_groups": state["param_groups"],
        "schedule": {
            key: value
            for key, value in schedule.state_dict().items()
            if isinstance(value, int | float | list | str | bool)
        },
        "validation": validation,
        "skipped": dict(skipped),
        "scaler": dict(scaler),
        "notes": list(notes),
    }
    write_tensors(path, tensors, {"ttame_checkpoint": json.dumps(described)})


@dataclasses.dataclass(frozen=True, eq=False)
class Checkpoint:
    """What :func:`load_checkpoint` read."""

    tensors: Mapping[str, Tensor]
    described: Mapping[str, Any]

    @property
    def step(self) -> int:
        """Optimiser steps done."""
        return int(self.described["step"])

    @property
    def identity(self) -> RunIdentity:
        """The run that it belongs to."""
        return RunIdentity(**self.described["identity"])

    @property
    def workforce(self) -> Workforce | None:
        """What computed it; ``None`` in checkpoints of the first version."""
        described = self.described.get("workforce")
        return None if described is None else Workforce(**described)

    @property
    def notes(self) -> list[str]:
        """What is to be said of the run, besides its settings."""
        return list(self.described.get("notes", ()))

    def restore(self, head: nn.Module, optimiser: Optimizer, schedule: LRScheduler) -> None:
        """Put the saved state into freshly made objects."""
        head.load_state_dict(self._under("head."))
        entries: dict[int, dict[str, Any]] = {}
        for name, tensor in self._under("optimiser.").items():
            index, _, key = name.partition(".")
            entries.setdefault(int(index), {})[key] = tensor
        for index, numbers in self.described["optimiser_numbers"].items():
            entries.setdefault(int(index), {}).update(numbers)
        groups = self.described["optimiser_groups"]
        optimiser.load_state_dict({"state": entries, "param_groups": groups})
        schedule.load_state_dict(dict(self.described["schedule"]))

    def _under(self, prefix: str) -> dict[str, Tensor]:
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what :func:`save_checkpoint` wrote, into the memory of the CPU.

    What is restored from it goes to the device of the head and the optimiser by itself.

    Raises:
        ResumeError: no such file, or not a checkpoint of this version.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            described = json.loads((file.metadata() or {})["ttame_checkpoint"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as problem:
        raise ResumeError(
            f"{path} is no readable checkpoint ({problem})",
            remedy="--overwrite instead of --resume, which trains anew",
        ) from problem
    if described["schema_version"] != SCHEMA_VERSION:
        raise ResumeError(
            f"{path} has checkpoint schema {described['schema_version']}",
            allowed=f"schema {SCHEMA_VERSION}",
        )
    return Checkpoint(tensors, described)
