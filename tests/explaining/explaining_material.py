"""Photos, methods and listeners for the tests of explaining many photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ttame.classifiers.classifier import Classifier
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.known_explainers import make_explainer
from ttame.explaining.explained_batch import Silence


class StoppedError(Exception):
    """What a test stops a run with."""


class Stopping(Silence):
    """Stops the run when the photo with a number (from 1) begins; notes where methods began."""

    def __init__(self, first: int | None = None) -> None:
        self.first = first
        self.begun: list[tuple[str, int, int]] = []
        self.started: list[tuple[int, int]] = []
        self.skipped: list[str] = []
        self.notes: list[str] = []

    def start(self, photos: int, finished: int) -> None:
        self.started.append((photos, finished))

    def begin(self, method: str, first: int, count: int) -> None:
        if first == self.first:
            raise StoppedError
        self.begun.append((method, first, count))

    def skip(self, name: str, reason: str) -> None:
        self.skipped.append(name)

    def note(self, text: str) -> None:
        self.notes.append(text)


def methods(
    classifier: Classifier, names: Sequence[str] = ("grad_cam", "random")
) -> dict[str, Explainer]:
    return {name: make_explainer(name, classifier) for name in names}


def content_of(folder: Path) -> dict[str, bytes]:
    """Path of each file below a folder to its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
