"""The folder that a training writes: what may be in it before, and what is removed."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from ttame.errors import ANOTHER_FOLDER, OutputError, setting
from ttame.explainers.trained.explainer_config import (
    CARD_FILE,
    CONFIG_FILE,
    TEXTS_FILE,
    WEIGHTS_FILE,
)
from ttame.files.atomic_writing import refuse_existing, refuse_mount_point, whole_folder
from ttame.files.leftovers import is_temporary, leftovers_of, remove_leftovers

CHECKPOINT_FILE = "checkpoint.safetensors"
LOG_FILE = "training.jsonl"
_EARLY_FILES = (LOG_FILE, WEIGHTS_FILE, CARD_FILE, TEXTS_FILE)
"""What a killed training may leave besides its checkpoint."""
_FILES = (CHECKPOINT_FILE, CONFIG_FILE, *_EARLY_FILES)
UNFINISHED = "unfinished"
"""Next to the files of an explainer that is to be replaced: those of the training that does it."""


@dataclasses.dataclass(frozen=True)
class TrainingFolder:
    """Where a training puts its log, its checkpoint and in the end the explainer.

    ``config.json`` comes last and says that the training is complete. Where one is there already,
    the new training is done in the sub-folder ``unfinished``, and the old explainer stays until
    the new one takes its place.
    """

    path: Path

    @property
    def is_complete(self) -> bool:
        """Whether the folder holds an explainer."""
        return (self.path / CONFIG_FILE).exists()

    @property
    def is_finished(self) -> bool:
        """Whether the folder holds an explainer, and no training that is to replace it."""
        return self.is_complete and self.place != self.path and not self.place.is_dir()

    @property
    def place(self) -> Path:
        """The folder of log and checkpoint."""
        replaces = self.is_complete and not (self.path / CHECKPOINT_FILE).exists()
        return self.path / UNFINISHED if replaces else self.path

    @property
    def checkpoint_file(self) -> Path:
        """The state of an unfinished training."""
        return self.place / CHECKPOINT_FILE

    @property
    def log_file(self) -> Path:
        """One JSON line per step."""
        return self.place / LOG_FILE

    def check(self, *, resume: bool, overwrite: bool) -> None:
        """Raise if a training may not write here. Changes nothing.

        Raises:
            OutputError: the folder holds something that would be lost or mixed up.
        """
        replaces = self.place != self.path
        if replaces and (resume or overwrite):
            refuse_mount_point(self.path)
        if resume and self.checkpoint_file.exists():
            return
        if resume and replaces and self.place.is_dir():
            refuse_existing(self.path, overwrite=True)
            return  # Killed before its first checkpoint: begin anew.
        if resume and self.is_finished:
            raise OutputError(
                f"the training in {self.path} is complete",
                remedy=f"{ANOTHER_FOLDER}, or {setting('overwrite', True)}",
            )
        if resume and self._holds_only_early_files():
            return  # Killed before its first checkpoint: begin anew.
        unfinished = self.checkpoint_file.exists() or self.log_file.exists()
        if unfinished and not overwrite:
            raise OutputError(
                f"folder {self.path} holds an unfinished training",
                remedy=f"{setting('resume', True)}, or {ANOTHER_FOLDER}, or "
                f"{setting('overwrite', True)}",
            )
        refuse_existing(self.path, overwrite=overwrite)
        if replaces and not os.access(self.path.resolve().parent, os.W_OK):
            raise OutputError(
                f"cannot replace {self.path}, because the folder around it may not be changed",
                remedy=ANOTHER_FOLDER,
            )

    def make(self) -> None:
        """Make the folder, but nothing in it.

        Raises:
            OutputError: the place is not writable.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise OutputError(f"cannot write {self.path} ({problem})") from problem

    def begin(self, *, resume: bool) -> None:
        """Clear up; unless resuming, remove what an older training would mix in.

        A complete explainer stays.

        Raises:
            OutputError: the place is not writable.
        """
        try:
            if not resume and self.is_complete:
                (self.path / CHECKPOINT_FILE).unlink(missing_ok=True)
            self.place.mkdir(parents=True, exist_ok=True)
            for name in _FILES:
                remove_leftovers(self.path / name)
                remove_leftovers(self.place / name)
            if not resume:
                self.checkpoint_file.unlink(missing_ok=True)
        except OSError as problem:
            raise OutputError(f"cannot write {self.path} ({problem})") from problem

    def complete(self, write: Callable[[Path], None]) -> None:
        """Put the finished explainer into the folder, and remove the checkpoint.

        An older explainer and its log are replaced by the new ones at once: a kill at any moment
        leaves either. What else the folder holds is kept.

        Args:
            write: puts the files of the explainer into a folder.

        Raises:
            OutputError: the disk is full, or the place is not writable.
        """
        if self.place == self.path:
            write(self.path)
            self.checkpoint_file.unlink(missing_ok=True)
            return
        with whole_folder(self.path, overwrite=True) as made:
            write(made)
            if self.log_file.exists():
                shutil.copyfile(self.log_file, made / LOG_FILE)
            for entry in self.path.iterdir():
                if entry.name not in (*_FILES, UNFINISHED) and not is_temporary(entry):
                    _copy(entry, made / entry.name)

    def _half_written_files(self) -> list[Path]:
        """What a kill left in the middle of an atomic write."""
        return [file for name in _FILES for file in leftovers_of(self.path / name)]

    def _holds_only_early_files(self) -> bool:
        if not self.path.is_dir():
            return False
        own = {self.path / name for name in _EARLY_FILES} | set(self._half_written_files())
        return set(self.path.iterdir()) <= own


def _copy(entry: Path, target: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.copytree(entry, target, symlinks=True)
    else:
        shutil.copy2(entry, target, follow_symlinks=False)
