"""``ttame train --text-data``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ttame.errors import TrainingError
from ttame.training.training_settings import DEFAULT_PRESET

if TYPE_CHECKING:
    from ttame.training.training_settings import TrainingSettings

TEXT_PRESET = "few-shot-text"


@dataclasses.dataclass(frozen=True)
class TextTrainingAsked:
    """What was typed behind ``ttame train --text-data``.

    Attributes:
        data: the file of texts.
        words: how many of a text are seen at a time; 0 for as many as the network takes.
        model: name of the classifier; the one that ships with ttame if nothing was typed.
        out: folder of the explainer.
        resume: whether to go on from a checkpoint.
        overwrite: whether to replace what is there.
    """

    data: Path
    words: int
    model: str | None
    out: Path
    resume: bool
    overwrite: bool


def preset_of_texts(preset: str) -> str:
    """The preset for texts, where that of photos is what stands there untyped."""
    return TEXT_PRESET if preset == DEFAULT_PRESET else preset


def refuse_photo_options(data: object, *, find_learning_rate: bool, features_from: bool) -> None:
    """Refuse what has no use for texts.

    Raises:
        TrainingError: such an option was typed.
    """
    if data:
        raise TrainingError("--data and --text-data", allowed="one of them")
    if features_from:
        raise TrainingError("--features-from with --text-data", allowed="photos")
    if find_learning_rate:
        raise TrainingError("--find-learning-rate with --text-data", allowed="photos")


def train_on_texts(
    asked: TextTrainingAsked, settings: TrainingSettings, typed: Mapping[str, Any]
) -> None:
    """Train, show how far it is, and say where the explainer is.

    Args:
        asked: what was typed.
        settings: the settings of the training.
        typed: options of the network.

    Raises:
        TtameError: whatever was typed does not exist or does not fit together.
    """
    from ttame.cli.network_options import DEFAULT_TEXT_MODEL
    from ttame.cli.text_networks import load_text_classifier
    from ttame.processes import is_first_process
    from ttame.training.texts.train_text_explainer import train
    from ttame.training.training_folder import TrainingFolder
    from ttame.training.training_line import TrainingLine

    if asked.resume and TrainingFolder(asked.out).is_finished:
        if is_first_process():
            typer.echo(f"the training in {asked.out} is complete; --overwrite trains from scratch")
        return
    model = asked.model or DEFAULT_TEXT_MODEL
    classifier = load_text_classifier(model, typed, too_long=None)
    with TrainingLine(classifier.name, settings) as line:
        train(
            classifier,
            asked.data,
            asked.out,
            settings,
            words=asked.words,
            resume=asked.resume,
            overwrite=asked.overwrite,
            watch=line.show,
        )
    if is_first_process():
        typer.echo(f"saved the explainer to {asked.out}")
        typer.echo(f'try: ttame explain --text "..." --explainer {asked.out} --model {model}')
