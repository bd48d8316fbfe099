"""What an evaluation is of, so that a later run continues this one and no other."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ttame.errors import (
    ANOTHER_FOLDER,
    EvaluationError,
    OutputError,
    either,
    setting,
)
from ttame.files.atomic_writing import write_json
from ttame.files.bounded_reading import UnreadableFileError
from ttame.files.json_files import checked_as, read_json_object
from ttame.files.leftovers import is_temporary

_WORDS = {
    "classifier": "classifier",
    "classifier_fingerprint": "classifier's weights",
    "outputs": "kind of outputs",
    "preprocessing": "preprocessing",
    "tokenizer": "tokenizer",
    "data": "data set",
    "images": "number of images",
    "protocol": "protocol",
    "metrics": "list of metrics",
    "batch_size": "batch size",
    "annotations": "annotations",
    "judge": "judge",
}

_SAID_LATER = ("tokenizer",)
"""Entries that folders of older versions do not have, and go on without."""

_OPTIONS = {
    "classifier": either("classifier", "--model"),
    "preprocessing": either("preprocessing", "--image-size"),
    "tokenizer": either("tokenizer", "--model"),
    "outputs": setting("outputs"),
    "data": setting("data"),
    "images": setting("limit"),
    "protocol": setting("protocol"),
    "metrics": setting("metrics"),
    "batch_size": setting("batch_size"),
    "annotations": setting("annotations"),
    "judge": setting("judge"),
}


def check_identity(folder: Path, identity: Mapping[str, Any], *, resume: bool) -> None:
    """Refuse to mix two evaluations in one folder; note what a new one is of.

    Args:
        folder: the folder of the evaluation; made if it is missing.
        identity: what all rows of the folder must share.
        resume: whether results may be there already.

    Raises:
        EvaluationError: the folder holds results and ``resume`` is false, or they are of something
            else. Nothing is changed then.
        OutputError: it cannot be made.
    """
    path = folder / "evaluation.json"
    if path.is_file():
        if not resume:
            raise EvaluationError(
                f"{folder} holds results already",
                remedy=f"{setting('resume', True)}, or {ANOTHER_FOLDER}",
            )
        found = _read(path)
        for name, words in _WORDS.items():
            unsaid = name in _SAID_LATER and name not in found
            if found.get(name) != identity.get(name) and not unsaid:
                raise EvaluationError(
                    f"the results in {folder} are of another {words}: "
                    f"{_shown(found.get(name))}, not {_shown(identity.get(name))}",
                    remedy=f"the same {_OPTIONS[name]} as before, or {ANOTHER_FOLDER}"
                    if name in _OPTIONS
                    else ANOTHER_FOLDER,
                )
        return
    # A run that was killed while it wrote its first file has left no results to keep.
    if folder.is_dir() and not all(is_temporary(place) for place in folder.iterdir()):
        raise EvaluationError(
            f"{folder} is not empty and holds no evaluation", remedy=ANOTHER_FOLDER
        )
    make_folder(folder)
    write_json(path, identity)


def make_folder(folder: Path) -> None:
    """Make a folder unless it is there.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise OutputError(
            f"cannot make the folder {folder} ({problem.strerror})", remedy=ANOTHER_FOLDER
        ) from problem


@dataclasses.dataclass(frozen=True)
class MethodFacts:
    """What the results say of a method besides its numbers.

    Attributes:
        title: for people.
        family: the family of the method.
        provenance: what its maps depend on.
    """

    title: str
    family: str
    provenance: Mapping[str, Any]


def note_methods(folder: Path, methods: Mapping[str, MethodFacts]) -> dict[str, MethodFacts]:
    """Note which methods are measured in a folder.

    Args:
        folder: the folder of the evaluation.
        methods: label to facts, of this run.

    Returns:
        Those of this run and of earlier ones.

    Raises:
        EvaluationError: a method of an earlier run has the same label, but other options or
            another trained explainer. Nothing is changed then.
    """
    found = known_methods(folder)
    for label, facts in methods.items():
        plain = json.loads(json.dumps(dict(facts.provenance), default=str))
        before = found.get(label)
        if before is not None and before.provenance != plain:
            names = {**before.provenance, **plain}
            changed = [name for name in names if before.provenance.get(name) != plain.get(name)]
            raise EvaluationError(
                f"{label} in {folder} was measured with other options: {', '.join(changed)}",
                remedy=ANOTHER_FOLDER,
            )
        found[label] = MethodFacts(facts.title, facts.family, plain)
    content = {label: dataclasses.asdict(facts) for label, facts in found.items()}
    write_json(folder / "methods.json", content)
    return found


def known_methods(folder: Path) -> dict[str, MethodFacts]:
    """The methods that were measured in a folder so far."""
    path = folder / "methods.json"
    if not path.is_file():
        return {}
    try:
        return {label: checked_as(MethodFacts, facts) for label, facts in _read(path).items()}
    except UnreadableFileError as problem:
        raise _unreadable(path, problem) from problem


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = read_json_object(path)
    except UnreadableFileError as problem:
        raise _unreadable(path, problem) from problem
    return content


def _unreadable(path: Path, problem: Exception) -> EvaluationError:
    return EvaluationError(f"{path} cannot be read ({problem})", remedy=ANOTHER_FOLDER)


def _shown(value: object) -> str:
    if isinstance(value, str) and len(value) > 40:
        return value[:12] + "…"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
