"""What an evaluation is of, so that a later run continues this one and no other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ttame.atomic_writing import write_json
from ttame.errors import EvaluationError

_WORDS = {
    "classifier": "classifier",
    "classifier_fingerprint": "classifier's weights",
    "data": "data set",
    "images": "number of images",
    "protocol": "protocol",
    "metrics": "list of metrics",
    "batch_size": "batch size",
    "annotations": "annotations",
}


def check_identity(folder: Path, identity: Mapping[str, Any], *, resume: bool) -> None:
    """Refuse to mix two evaluations in one folder; note what a new one is of.

    Args:
        folder: of the evaluation; made if it is missing.
        identity: what all rows of the folder must share.
        resume: whether results may be there already.

    Raises:
        EvaluationError: the folder holds results and ``resume`` is false, or they are of something
            else. Nothing is changed then.
    """
    path = folder / "evaluation.json"
    if path.is_file():
        if not resume:
            raise EvaluationError(
                f"{folder} holds results already", remedy="--resume, or another --out"
            )
        found = _read(path)
        for name, words in _WORDS.items():
            if found.get(name) != identity.get(name):
                raise EvaluationError(
                    f"the results in {folder} are of another {words}: "
                    f"{_shown(found.get(name))}, not {_shown(identity.get(name))}",
                    remedy="another --out",
                )
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise EvaluationError(
            f"{folder} is not empty and holds no evaluation", remedy="another --out"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, identity)


def check_methods(folder: Path, methods: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse a method whose rows were made with other options; note new ones.

    Raises:
        EvaluationError: the same method with other options or another explainer.
    """
    path = folder / "methods.json"
    found = _read(path) if path.is_file() else {}
    for label, described in methods.items():
        plain = json.loads(json.dumps(described, default=str))
        if label in found and found[label] != plain:
            changed = [k for k in {**found[label], **plain} if found[label].get(k) != plain.get(k)]
            raise EvaluationError(
                f"{label} in {folder} was measured with other options: {', '.join(changed)}",
                remedy="another --out",
            )
        found[label] = plain
    write_json(path, found)


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise EvaluationError(
            f"{path} cannot be read ({problem})", remedy="another --out"
        ) from problem
    return content


def _shown(value: object) -> str:
    if isinstance(value, str) and len(value) > 24:
        return value[:12] + "…"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
