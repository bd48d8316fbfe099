"""What a training run shows, and what it writes down."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from ttame.errors import (
    OutputError,
    setting,
)
from ttame.files.atomic_writing import whole_file
from ttame.files.bounded_reading import UnreadableFileError
from ttame.files.json_files import parse_json


@dataclasses.dataclass(frozen=True)
class TrainingProgress:
    """The state of a run after one optimiser step.

    Attributes:
        step: steps done, from 1.
        steps: steps of the whole run.
        epoch: from 0.
        epochs: the epochs of the whole run.
        parts: the weighted loss parts, ``loss`` being their sum.
        learning_rate: the learning rate of this step.
        images_per_second: over the last steps.
        seconds_left: estimated, without validation.
        validation: figures of the held-out part, after the last step of an epoch.
        notes: what is to be said of the run besides its settings, the same in all steps.
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    parts: Mapping[str, float]
    learning_rate: float
    images_per_second: float
    seconds_left: float
    validation: Mapping[str, float] | None = None
    notes: tuple[str, ...] = ()


class StepClock:
    """Measures images per second over the last steps."""

    def __init__(self, batch_size: int, window: int = 20) -> None:
        self._batch_size = batch_size
        self._ends: deque[float] = deque([time.perf_counter()], maxlen=window + 1)

    def tick(self) -> float:
        """Note the end of a step; return images per second."""
        self._ends.append(time.perf_counter())
        return self._batch_size * (len(self._ends) - 1) / max(self._ends[-1] - self._ends[0], 1e-9)

    def pause_ended(self) -> None:
        """Forget what came before a pause, such as a validation."""
        self._ends.clear()
        self._ends.append(time.perf_counter())


class TrainingLog:
    """``training.jsonl``: one JSON line per step, written as soon as the step is done.

    A resumed run first drops the lines after its checkpoint, which it is going to write again.
    Nothing is opened before the first line, so that a run that cannot start writes nothing.

    Args:
        path: the path of the file.
        keep_steps: of an older log, the steps that the checkpoint holds; 0 begins a new log.
        enabled: false in all processes but one.
    """

    def __init__(self, path: Path, *, keep_steps: int, enabled: bool = True) -> None:
        self._path = path
        self._keep_steps = keep_steps
        self._enabled = enabled
        self._file: TextIO | None = None

    def __enter__(self) -> TrainingLog:
        return self

    def write(self, line: Mapping[str, Any]) -> None:
        """Append one line.

        Raises:
            OutputError: the disk is full or the place is not writable.
        """
        if not self._enabled:
            return
        try:
            if self._file is None:
                self._drop_later_steps()
                self._file = self._path.open("a", encoding="utf-8", buffering=1)
            self._file.write(json.dumps(line, allow_nan=False) + "\n")
        except OSError as problem:
            raise OutputError(
                f"cannot write {self._path} ({problem.strerror})",
                remedy=f"free some space, then {setting('resume', True)}",
            ) from problem

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            # A full disk makes closing fail as well, and the error is on its way already.
            with contextlib.suppress(OSError):
                self._file.close()

    def _drop_later_steps(self) -> None:
        kept = []
        if self._keep_steps and self._path.exists():
            for line in self._path.read_text("utf-8", "backslashreplace").splitlines():
                try:
                    if parse_json(line, allow_nan=True)["step"] <= self._keep_steps:
                        kept.append(line + "\n")
                except (UnreadableFileError, KeyError, TypeError):
                    break  # a line that a kill cut in two
        with whole_file(self._path) as temporary:  # A kill meanwhile loses no line.
            temporary.write_text("".join(kept), encoding="utf-8")
