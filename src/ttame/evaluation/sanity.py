"""The randomisation check of every method of an evaluation, kept with its results."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ttame.errors import (
    EvaluationError,
    either,
    setting,
)
from ttame.evaluation.measuring import Listener, Measuring, spread
from ttame.evaluation.randomisation import randomisation_check
from ttame.evaluation.read_images import explained_classes, readable_images
from ttame.explainers.contract.explainer import Explainer
from ttame.files.atomic_writing import write_json
from ttame.files.bounded_reading import UnreadableFileError
from ttame.files.json_files import checked_as, read_json_object
from ttame.networks.giving_back import gives_everything_back
from ttame.results.evaluation import RandomisationScore


@gives_everything_back
def check_sanity(
    measuring: Measuring, methods: Mapping[str, Explainer], images: int, listener: Listener
) -> None:
    """Randomise the network under each method that was not checked on as many images before.

    Results stand in ``sanity.json``, written after each method.

    Args:
        measuring: the evaluation.
        methods: label to explainer.
        images: how many, evenly spread; 0 checks nothing.
        listener: told which method is checked.

    Raises:
        EvaluationError: none of the images is readable.
    """
    sanity_scores(measuring.folder)  # Damage is found before the work, not behind it.
    found = _read(measuring.folder)
    missing = [label for label in methods if found.get(label, {}).get("images") != images]
    if not images or not missing:
        return
    classifier = measuring.classifier
    numbers = [measuring.numbers[place] for place in spread(len(measuring.numbers), images)]
    read = readable_images(measuring, numbers)
    if not read.numbers:
        raise EvaluationError(f"none of {images} photos for the sanity check is readable")
    prepared = read.images
    classes = explained_classes(measuring, read.numbers, classifier.probabilities(prepared))
    for label in missing:
        listener.randomising(label)
        score = randomisation_check(
            methods[label].for_classifier,
            classifier,
            prepared,
            classes,
            memory_budget=measuring.memory_budget,
        )
        found[label] = {"images": images, **dataclasses.asdict(score)}
        write_json(measuring.folder / "sanity.json", found)


def sanity_scores(folder: Path) -> dict[str, RandomisationScore]:
    """Label to result, of the methods that were checked."""
    try:
        return {
            label: checked_as(RandomisationScore, entry) for label, entry in _read(folder).items()
        }
    except UnreadableFileError as problem:
        raise _unreadable(folder, problem) from problem


def _read(folder: Path) -> dict[str, Any]:
    path = folder / "sanity.json"
    if not path.is_file():
        return {}
    try:
        content: dict[str, Any] = read_json_object(path)
    except UnreadableFileError as problem:
        raise _unreadable(folder, problem) from problem
    return content


def _unreadable(folder: Path, problem: Exception) -> EvaluationError:
    return EvaluationError(
        f"{folder / 'sanity.json'} cannot be read ({problem})",
        remedy=f"deleting it, then {setting('resume', True)} with "
        + either("sanity_images", "--sanity"),
    )
