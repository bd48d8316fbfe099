"""``ttame train``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ttame.cli.added_options import with_options
from ttame.cli.features_options import FeaturesOptions, features_parameters
from ttame.cli.network_options import NamedClassifier, OptionalModelName, network_parameters
from ttame.cli.setting_options import setting_options, setting_parameters
from ttame.cli.train_texts import (
    TextTrainingAsked,
    preset_of_texts,
    refuse_photo_options,
    train_on_texts,
)
from ttame.training.training_settings import DEFAULT_PRESET, PRESETS

if TYPE_CHECKING:
    from ttame.classifiers.classifier import Classifier
    from ttame.training.training_settings import TrainingSettings


def _option(text: str, *names: str) -> Any:
    return typer.Option(*names, help=text, show_default=False)


def _one_of(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}."


@with_options(*network_parameters(), *features_parameters(), *setting_parameters())
def train(
    model: OptionalModelName = None,
    data: Annotated[
        list[str] | None,
        _option(
            "Folder, list file or tar shards ('train-*.tar'); may be given several times.",
            "--data",
            "-d",
        ),
    ] = None,
    text_data: Annotated[
        Path | None,
        _option(
            "Texts instead of photos: a .jsonl or .jsonl.gz file, a line per text with tokens "
            "(words between single spaces).",
            "--text-data",
        ),
    ] = None,
    words: Annotated[
        int,
        typer.Option(
            min=0,
            help="Words of a text of --text-data that are seen at a time, from a random one on; 0 "
            "for as many as the network takes.",
        ),
    ] = 0,
    out: Annotated[Path | None, _option("Folder for the explainer.", "--out", "-o")] = None,
    preset: Annotated[
        str, typer.Option(help=f"Where the settings start: {_one_of(PRESETS)}")
    ] = DEFAULT_PRESET,
    resume: Annotated[bool, _option("Continue from the checkpoint in --out.")] = False,
    overwrite: Annotated[
        bool,
        _option(
            "Train from scratch even if --out is not empty; an explainer there is kept until the "
            "end."
        ),
    ] = False,
    find_learning_rate: Annotated[
        bool, _option("Run a learning-rate range test instead, and plot it into --out.")
    ] = False,
    **typed: Any,
) -> None:
    """Train an explainer for a classifier on your images or texts; no labels are needed.

    Interrupt it at any moment; the same command with --resume continues.

    Example: ttame train --model timm/resnet18 --data photos/ --out my-explainer
    """
    from ttame.errors import DatasetError, TrainingError
    from ttame.training.training_settings import training_settings

    changes = {name: typed[name] for name in setting_options() if typed[name] is not None}
    features = FeaturesOptions.of(typed)
    if text_data is not None:
        refuse_photo_options(
            data,
            find_learning_rate=find_learning_rate,
            features_from=features.features_from is not None,
        )
        asked = TextTrainingAsked(text_data, words, model, _place(out), resume, overwrite)
        train_on_texts(asked, training_settings(preset_of_texts(preset), **changes), typed)
        return
    settings = training_settings(preset, **changes)
    if words:
        raise TrainingError("--words without --text-data", remedy="--text-data FILE")
    if not data:
        raise DatasetError(
            "no data",
            remedy="--data FOLDER, a list file, or 'shards-*.tar'; for texts --text-data FILE",
        )
    out = _place(out)
    classifier = NamedClassifier.of(model, typed).load()
    other = features.load(typed["device"])
    if find_learning_rate and resume:
        raise TrainingError(
            "--find-learning-rate with --resume: the test starts over each time",
            remedy="one of the two",
        )
    if find_learning_rate:
        _find_learning_rate(classifier, other, data, out, settings, overwrite=overwrite)
    else:
        _train(classifier, other, data, out, settings, resume=resume, overwrite=overwrite)


def _place(out: Path | None) -> Path:
    from ttame.errors import OutputError

    if out is None:
        raise OutputError("no place to write", remedy="--out FOLDER")
    return out


def _train(
    classifier: Classifier,
    other: Classifier | None,
    data: list[str],
    out: Path,
    settings: TrainingSettings,
    *,
    resume: bool,
    overwrite: bool,
) -> None:
    from ttame.cli.training_display import TrainingDisplay
    from ttame.processes import is_first_process
    from ttame.training.train_explainer import train_explainer
    from ttame.training.training_folder import TrainingFolder

    place = TrainingFolder(out)
    begun = place.checkpoint_file.exists()
    if resume and place.is_finished:
        # A script that restarts a killed training must not fail because it had just finished.
        if is_first_process():
            typer.echo(f"the training in {out} is complete; --overwrite trains from scratch")
        return
    fresh = resume and not begun
    with TrainingDisplay(classifier, settings, other, nothing_to_resume=fresh) as display:
        explainer = train_explainer(
            classifier,
            data,
            out,
            settings,
            features_from=other,
            resume=resume,
            overwrite=overwrite,
            watch=display.show,
        )
    if is_first_process():
        display.summarise(explainer.training_record, out)


def _find_learning_rate(
    classifier: Classifier,
    other: Classifier | None,
    data: list[str],
    out: Path,
    settings: TrainingSettings,
    *,
    overwrite: bool,
) -> None:
    from ttame.cli.training_display import print_range_test
    from ttame.errors import TrainingError
    from ttame.files.atomic_writing import whole_folder
    from ttame.processes import launched_processes
    from ttame.training.learning_rate_test import find_learning_rate, write_learning_rate_plot

    if launched_processes() > 1:
        raise TrainingError("a range test in several processes", remedy="one process")
    with whole_folder(out, overwrite=overwrite) as temporary:
        found = find_learning_rate(classifier, data, settings, features_from=other)
        found.save_json(temporary / "learning_rate.json")
        write_learning_rate_plot(found, temporary / "learning_rate.svg")
    print_range_test(found, out)
