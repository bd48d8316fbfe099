"""What an explaining run is of, so that a later run goes on with this one and no other."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from ttame.classifiers.any_classifier import AnyClassifier
from ttame.errors import (
    OutputError,
    either,
    setting,
)
from ttame.explainers.trained.head_provenance import full_provenance
from ttame.explaining.explained_batch import Asked
from ttame.files.atomic_writing import write_json
from ttame.files.bounded_reading import UnreadableFileError
from ttame.files.growing_folder import RESULT, growing_folder, unfinished_folders
from ttame.files.json_files import read_json_object
from ttame.files.leftovers import remove_leftovers, remove_leftovers_below
from ttame.outputs import SOFTMAX
from ttame.processes import ProcessGroup
from ttame.reporting.batch_records import finished_batches
from ttame.reporting.growing_shards import has_shards

_IDENTITY = "explaining.json"
_FOLDER = "folder"
"""The number that the file system has given to the result's folder."""

_WORDS = {
    "format": ("format", either("function", "--format")),
    "classifier": ("classifier", either("classifier", "--model")),
    "classifier_fingerprint": ("classifier's weights", setting("weights")),
    "preprocessing": ("preprocessing", either("preprocessing", "--image-size")),
    "tokenizer": ("tokenizer", either("tokenizer", "--model")),
    "most_tokens": ("longest text, in tokens", either("tokenizer", "--model")),
    "too_long": ("way to handle long texts", either("too_long or windows", "--too-long")),
    "outputs": ("kind of outputs", setting("outputs")),
    "data": ("set of photos", "photos"),
    "texts": ("set of texts", "texts"),
    "methods": (
        "choice of methods or of their options",
        either("explainers", "--methods, --explainer and --option"),
    ),
    "classes": ("choice of classes", setting("classes")),
    "rather_than": ("class to compare with", setting("rather_than")),
    "threshold": ("threshold", setting("threshold")),
    "batch_size": ("batch size", setting("batch_size")),
    "shard_size": ("shard size", setting("shard_size")),
    "drawn": (
        "way of drawing",
        either(
            "pictures, scale, opacity and strength",
            "--pictures, --colour-scale, --opacity and --strength",
        ),
    ),
}
"""Entry to its name, and to what decides it."""


class AskedInBatches(Asked, Protocol):
    """What is to be explained of photos or texts, so many at a time."""

    @property
    def classifier(self) -> AnyClassifier[Any, Any]:
        """The explained network."""

    @property
    def batch_size(self) -> int:
        """Photos or texts at a time."""

    @property
    def batches(self) -> int:
        """How many batches there are."""


def shared_identity(asked: AskedInBatches) -> dict[str, Any]:
    """What a later run must have in common to go on, whatever is explained."""
    classifier, classes = asked.classifier, asked.classes
    return {
        "classifier": classifier.name,
        "classifier_fingerprint": classifier.fingerprint(),
        # Softmax goes without saying, so that what older versions left goes on.
        **({} if classifier.outputs is SOFTMAX else {"outputs": classifier.outputs.kind}),
        "methods": [
            {"label": label, **full_provenance(explainer)}
            for label, explainer in asked.explainers.items()
        ],
        "classes": classes.flatten().tolist() if isinstance(classes, Tensor) else classes,
        "rather_than": asked.rather_than,
        "batch_size": asked.batch_size,
    }


@contextlib.contextmanager
def shared_report(
    out: Path,
    processes: ProcessGroup,
    identity: Callable[[], Mapping[str, Any]],
    *,
    overwrite: bool,
    resume: bool,
    is_finished: Callable[[], bool],
) -> Iterator[Path | None]:
    """Yield a work folder that all processes write to; the first one opens and closes it.

    Args:
        out: the folder to be.
        processes: this one among the others.
        identity: gives that of :func:`unfinished_report`, in the first process; ``overwrite`` and
            ``resume`` are as there.
        overwrite: replace an existing folder.
        resume: continue what an earlier run left.
        is_finished: whether ``out`` holds all of it already; may fail as reading a record does that
            is not there or of another version.

    Yields:
        The work folder; ``None`` if an earlier run has finished, so that there is nothing to do.

    Raises:
        OutputError: as :func:`unfinished_report`.
    """
    with contextlib.ExitStack() as stack:

        def opened() -> Path | None:
            if resume and not overwrite and _holds_all(is_finished):
                # Of a run that was killed just after its result got its name.
                remove_leftovers(Path(os.path.realpath(out)))
                return None
            return stack.enter_context(
                unfinished_report(out, identity(), overwrite=overwrite, resume=resume)
            )

        yield processes.from_first(opened)
        processes.first(stack.close)


def _holds_all(is_finished: Callable[[], bool]) -> bool:
    try:
        return is_finished()
    # No record, or one of another version: the folder is another one, and is in the way.
    except (OutputError, KeyError, TypeError):
        return False


@contextlib.contextmanager
def unfinished_report(
    out: Path, identity: Mapping[str, Any], *, overwrite: bool, resume: bool
) -> Iterator[Path]:
    """Yield the work folder of a report: a new one, or one that a run left which did not finish.

    Args:
        out: the folder to be.
        identity: what must be the same to go on; empty if there is too little to keep anything.
        overwrite: replace an existing folder, once the new one is complete.
        resume: continue what an earlier run left, if it left something.

    Raises:
        OutputError: ``out`` exists and may not be replaced; there is work of an earlier run, and
            neither ``overwrite`` nor ``resume``; or it is of something else.
    """
    continued = _left(out, identity, overwrite=overwrite, resume=resume)
    with growing_folder(
        out, keeps=_is_worth_keeping, overwrite=overwrite, continued=continued
    ) as place:
        if continued is not None:
            remove_leftovers_below(place)
        elif identity:
            number = (place / RESULT).stat().st_ino
            write_json(place / _IDENTITY, {**_plain(identity), _FOLDER: number})
        yield place


def _left(out: Path, identity: Mapping[str, Any], *, overwrite: bool, resume: bool) -> Path | None:
    """What an earlier run left to go on with, if anything."""
    if overwrite and not resume:
        return None
    left = unfinished_folders(out, _is_worth_keeping)
    if left and not resume:
        raise OutputError(
            f"an earlier run into {out} has not finished",
            remedy=f"{setting('resume', True)}, which goes on with it, or "
            f"{setting('overwrite', True)}, which starts over",
        )
    wanted = _plain(identity)
    changes = [_changed(_read(place), wanted) for place in left]
    if changes and all(changes):
        name, before, now = next(filter(None, changes))
        words, option = _WORDS[name]
        between = f": {before}, not {now}" if len(before + now) < 100 else ""
        raise OutputError(
            f"the unfinished explanations of an earlier run into {out} are of another "
            f"{words}{between}",
            remedy=f"the same {option} as before, or {setting('overwrite', True)} without "
            f"{setting('resume')} to start over",
        )
    return next((place for place, change in zip(left, changes, strict=True) if not change), None)


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """The first entry that is not the same, with both values in words."""
    for name in _WORDS:
        if before.get(name) != now.get(name):
            return name, str(before.get(name)), str(now.get(name))
    return None


def _is_worth_keeping(place: Path) -> bool:
    """Whether a work folder holds finished batches of a result that has no name yet."""
    result = place / RESULT
    if not result.is_dir() or not (finished_batches(place) or has_shards(place)):
        return False
    # A run that was killed just after it exchanged its result with the one that it replaces has
    # left the old one here.
    return bool(_read(place).get(_FOLDER) == result.stat().st_ino)


def _read(place: Path) -> dict[str, Any]:
    try:
        return read_json_object(place / _IDENTITY)
    except UnreadableFileError:
        return {}


def _plain(identity: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(dict(identity), default=str))
    return plain
