"""A training run in one file, without pickle."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ttame.errors import (
    ANOTHER_FOLDER,
    ResumeError,
    TtameError,
    either,
    setting,
)
from ttame.explainers.trained.older_settings import with_parts
from ttame.explainers.trained.settings_part import flat_settings
from ttame.files.atomic_writing import write_tensors
from ttame.files.bounded_reading import UnreadableFileError
from ttame.files.json_files import checked_as, parse_json
from ttame.files.tensor_files import read_tensors
from ttame.training.training_settings import TrainingSettings

SCHEMA_VERSION = 2
_FLAT = 1
"""The schema whose settings had no parts yet."""
_MOMENTUM_STATE = {"momentum_buffer"}
_ADAPTIVE_STATE = {"step", "exp_avg", "exp_avg_sq"}
"""What the optimisers keep for each parameter."""
_MOST_STEPS = 2**53
_RATES = {"lr", "momentum"}
"""What the schedule changes."""


@dataclasses.dataclass(frozen=True)
class RunIdentity:
    """What must be the same when a run is resumed.

    Attributes:
        settings: the training settings as JSON, in parts.
        data: fingerprint of the image names.
        classifier: fingerprint of the weights.
        taps: layer names.
        preprocessing: the preprocessing of the classifier, as JSON; not in checkpoints of the first
            version.
        features_from: what is known of the network whose features are read, if it is another one.
    """

    settings: Mapping[str, Any]
    data: str
    classifier: str
    taps: tuple[str, ...]
    preprocessing: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    features_from: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def refuse_other(self, other: RunIdentity) -> None:
        """Raise if a checkpoint of ``other`` cannot be continued by this run.

        Raises:
            ResumeError: names what differs.
        """
        before, now = _completed(other.settings), _completed(self.settings)
        changed = [
            f"{name} was {before[name]!r}, now {value!r}"
            for name, value in now.items()
            # How often to save and how many processes read changes no result. What one of the
            # two does not have belongs to a part that is of another kind, which is named.
            if name not in ("checkpoint_every", "workers")
            and name in before
            and before[name] != value
        ]
        if before.keys() != now.keys() and not changed:
            changed.append(f"other settings: {', '.join(sorted(before.keys() ^ now.keys()))}")
        if other.data != self.data:
            changed.append("other images")
        if other.classifier != self.classifier:
            changed.append("a classifier with other weights")
        if other.features_from != self.features_from:
            changed.append("features from another network")
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
                remedy=f"the same {either('settings', 'options')} as before, or {ANOTHER_FOLDER}",
            )


def _completed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """By flat names, with today's defaults of the settings that are younger than a checkpoint."""
    try:
        return TrainingSettings.from_json(settings).flat()
    except TtameError:
        return flat_settings(settings)  # with an objective of one's own, which has no name


@dataclasses.dataclass(frozen=True)
class Workforce:
    """What computes. Another one does the same steps, but rounds differently.

    Attributes:
        processes: that share each batch.
        device: the device of each, in words.
        threads: the number of threads of each, where it computes on the CPU.
        torch_version: what calculates.
    """

    processes: int
    device: str
    threads: int | None
    torch_version: str

    def __post_init__(self) -> None:
        # Both are shown as they are: what a checkpoint holds must not command the terminal.
        if not (self.device + self.torch_version).isprintable():
            raise ValueError("a device or version of torch that cannot be printed")

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


@dataclasses.dataclass(frozen=True)
class _Described:
    """What must stand in a checkpoint besides tensors."""

    step: int
    identity: RunIdentity
    optimiser_numbers: dict[str, dict[str, int | float | bool | None]]
    optimiser_groups: list[dict[str, Any]]
    schedule: dict[str, Any]
    validation: list[dict[str, Any]]
    skipped: dict[str, str]
    scaler: dict[str, Any]
    workforce: Workforce | None = None
    notes: tuple[str, ...] = ()


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
        return checked_as(RunIdentity, self.described["identity"])

    @property
    def workforce(self) -> Workforce | None:
        """What computed it; ``None`` in checkpoints of the first version."""
        described = self.described.get("workforce")
        return None if described is None else checked_as(Workforce, described)

    @property
    def notes(self) -> list[str]:
        """What is to be said of the run, besides its settings."""
        return list(self.described.get("notes", ()))

    def restore(self, head: nn.Module, optimiser: Optimizer, schedule: LRScheduler) -> None:
        """Put the saved state into freshly made objects.

        Raises:
            ResumeError: it is not a state of such objects.
        """
        try:
            self._restore(head, optimiser, schedule)
        except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as problem:
            reason = (str(problem).splitlines() or [""])[0]
            raise ResumeError(
                f"the checkpoint is damaged ({reason})",
                remedy=f"training from scratch, without {setting('resume')}",
            ) from problem

    def _restore(self, head: nn.Module, optimiser: Optimizer, schedule: LRScheduler) -> None:
        head.load_state_dict(self._under("head."))
        entries: dict[int, dict[str, Any]] = {}
        for name, tensor in self._under("optimiser.").items():
            index, _, key = name.partition(".")
            entries.setdefault(int(index), {})[key] = tensor
        for index, numbers in self.described["optimiser_numbers"].items():
            entries.setdefault(int(index), {}).update(numbers)
        groups = self.described["optimiser_groups"]
        _check_groups(groups, optimiser)
        _check_states(entries, optimiser)
        optimiser.load_state_dict({"state": entries, "param_groups": groups})
        saved = self.described["schedule"]
        _check_schedule(saved, schedule)
        schedule.load_state_dict(dict(saved))

    def _under(self, prefix: str) -> dict[str, Tensor]:
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what :func:`save_checkpoint` wrote, into the memory of the CPU.

    What is restored from it goes to the device of the head and the optimiser automatically.

    Raises:
        ResumeError: no such file, or not a checkpoint of this version.
    """
    try:
        tensors, metadata = read_tensors(path)
        if "ttame_checkpoint" not in metadata:
            raise UnreadableFileError("it does not describe one")
        # The measures of a validation may be NaN.
        described = parse_json(metadata["ttame_checkpoint"], allow_nan=True)
        schema = described.get("schema_version") if isinstance(described, dict) else SCHEMA_VERSION
        if schema not in (_FLAT, SCHEMA_VERSION):
            raise ResumeError(
                f"{path} has checkpoint schema {schema!r:.60}",
                allowed=f"schema {SCHEMA_VERSION} or {_FLAT}",
            )
        if schema == _FLAT:
            described = _with_parts(described)
        if checked_as(_Described, described).step < 0:
            raise UnreadableFileError("broken at 'step'")
    except UnreadableFileError as problem:
        raise ResumeError(
            f"{path} is not a readable checkpoint ({problem})",
            remedy=f"{setting('overwrite', True)} instead of {setting('resume')}, to start over",
        ) from problem
    return Checkpoint(tensors, described)


def _with_parts(described: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint of the first schema as this one has it; broken ones stay broken."""
    identity = described.get("identity")
    if not isinstance(identity, dict) or not isinstance(identity.get("settings"), dict):
        return described
    identity = {**identity, "settings": with_parts(identity["settings"])}
    return {**described, "identity": identity}


def _check_groups(groups: list[dict[str, Any]], optimiser: Optimizer) -> None:
    """Refuse groups of parameters of other settings than this run's; only rates change in a run."""
    own = optimiser.state_dict()["param_groups"]
    if len(groups) != len(own):
        raise ValueError(f"{len(groups)} groups of parameters, where there are {len(own)}")
    for group, expected in zip(groups, own, strict=True):
        # Flags that newer versions of torch add are off unless they are noted.
        needed = {
            name for name, value in expected.items() if value is not None and value is not False
        }
        for name in sorted(needed | group.keys()):
            value: Any = group.get(name)
            if name in _RATES:
                fits = _alike(value, 0.0) and 0 <= value < math.inf
            else:
                # Versions of torch differ in what else they note.
                fits = name not in expected or _equal(value, expected[name])
            if not fits:
                raise ValueError(f"{name} of the optimiser is {value!r}")


def _check_schedule(saved: Mapping[str, Any], schedule: LRScheduler) -> None:
    """Refuse a place in the schedule that it does not have, or another schedule."""
    own = schedule.state_dict()
    for name, value in saved.items():
        if name in ("last_epoch", "_step_count"):
            fits = type(value) is int and 0 <= value <= own.get("total_steps", value) + 1
        elif name == "_last_lr":
            fits = _alike(value, own[name])
        else:
            fits = name not in own or isinstance(value, bool) or _equal(value, own[name])
        if not fits:
            raise ValueError(f"{name} of the schedule is {value!r}")


def _check_states(entries: Mapping[int, Mapping[str, Any]], optimiser: Optimizer) -> None:
    """Refuse what this optimiser does not keep for its parameters, or not in that shape."""
    parameters = [values for group in optimiser.param_groups for values in group["params"]]
    needed = _ADAPTIVE_STATE if "betas" in optimiser.param_groups[0] else _MOMENTUM_STATE
    for number, entry in entries.items():
        if not 0 <= number < len(parameters) or entry.keys() != needed:
            raise ValueError(f"{', '.join(sorted(entry))} of parameter {number}")
        for name, value in entry.items():
            shape = torch.Size([]) if name == "step" else parameters[number].shape
            if value is None and name == "momentum_buffer":
                continue
            tensor = isinstance(value, Tensor) and value.dtype.is_floating_point
            if not tensor or value.shape != shape or not bool(value.isfinite().all()):
                raise ValueError(f"{name} of parameter {number}")
            if name == "step" and not 0 <= float(value) <= _MOST_STEPS:
                raise ValueError(f"{float(value):g} steps of parameter {number}")


def _alike(saved: Any, own: Any) -> bool:
    """Whether a value from JSON is a number where this one is, or as many numbers in a list."""
    if isinstance(own, list | tuple):
        same = isinstance(saved, list) and len(saved) == len(own)
        return same and all(map(_alike, saved, own))
    return type(saved) in (int, float) and type(own) in (int, float)


def _equal(saved: Any, own: Any) -> bool:
    """Whether a value from JSON is this one; JSON has no tuples."""
    if isinstance(own, tuple) and isinstance(saved, list):
        saved = tuple(saved)
    return isinstance(saved, bool) == isinstance(own, bool) and bool(saved == own)
