"""The folder that a training writes: what may be in it before, and what is removed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ttame.errors import OutputError
from ttame.explainers.trained.explainer_config import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE
from ttame.files.atomic_writing import refuse_existing, refuse_unreadable_name
from ttame.files.leftovers import leftovers_of, remove_leftovers

CHECKPOINT_FILE = "checkpoint.safetensors"
LOG_FILE = "training.jsonl"
_EARLY_FILES = (LOG_FILE, WEIGHTS_FILE, CARD_FILE)
"""What a killed training may leave besides its checkpoint."""
_FILES = (CHECKPOINT_FILE, CONFIG_FILE, *_EARLY_FILES)


@dataclasses.dataclass(frozen=True)
class TrainingFolder:
    """Where a training puts its log, its checkpoint and in the end the explainer.

    ``config.json`` comes last and says that the training is complete.
    """

    path: Path

    @property
    def checkpoint_file(self) -> Path:
        """The state of an unfinished training."""
        return self.path / CHECKPOINT_FILE

    @property
    def log_file(self) -> Path:
        """One JSON line a step."""
        return self.path / LOG_FILE

    def check(self, *, resume: bool, overwrite: bool) -> None:
        """Raise if a training may not write here. Changes nothing.

        Raises:
            OutputError: the folder holds something that would be lost or mixed up.
        """
        refuse_unreadable_name(self.path)
        complete = (self.path / CONFIG_FILE).exists()
        if resume and self.checkpoint_file.exists():
            return
        if resume and complete:
            raise OutputError(
                f"the training in {self.path} is complete", remedy="another --out, or --overwrite"
            )
        if resume and self._holds_only_early_files():
            return  # Killed before its first checkpoint: begin anew.
        unfinished = self.checkpoint_file.exists() or self.log_file.exists()
        if unfinished and not complete and not overwrite:
            raise OutputError(
                f"folder {self.path} holds an unfinished training",
                remedy="--resume, or another --out, or --overwrite",
            )
        refuse_existing(self.path, overwrite=overwrite)

    def begin(self, *, resume: bool) -> None:
        """Make the folder; unless resuming, remove what an older training would mix in.

        Raises:
            OutputError: the place is not writable.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for name in _FILES:
                remove_leftovers(self.path / name)
            if not resume:
                for file in (self.checkpoint_file, self.path / CONFIG_FILE):
                    file.unlink(missing_ok=True)
        except OSError as problem:
            raise OutputError(f"cannot write {self.path} ({problem})") from problem

    def _half_written_files(self) -> list[Path]:
        """What a kill left in the middle of an atomic write."""
        return [file for name in _FILES for file in leftovers_of(self.path / name)]

    def _holds_only_early_files(self) -> bool:
        if not self.path.is_dir():
            return False
        own = {self.path / name for name in _EARLY_FILES} | set(self._half_written_files())
        return set(self.path.iterdir()) <= own
