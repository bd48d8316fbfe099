"""``ttame train``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from ttame.cli.network_options import (
    DEFAULT_MODEL,
    ClassNames,
    Device,
    ImageSize,
    ModelName,
    NamedClassifier,
    NetworkOption,
    OutputsKind,
    Taps,
    Weights,
)
from ttame.explainers.trained.head_settings import HeadVariant, MapScale
from ttame.training.training_settings import DEFAULT_PRESET, PRESETS, HeadPart, Objective, Optimiser

if TYPE_CHECKING:
    from ttame.classifiers.classifier import Classifier
    from ttame.training.training_settings import TrainingSettings

_RUN = "The run"
_METHOD = "The method (the preset decides what is not given)"


def _option(text: str, *names: str, panel: str = _RUN) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, show_default=False)


def _one_of(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}."


def train(
    model: ModelName = DEFAULT_MODEL,
    data: Annotated[
        list[str] | None,
        _option(
            "Folder, list file or tar shards ('train-*.tar'); may be given several times.",
            "--data",
            "-d",
        ),
    ] = None,
    out: Annotated[Path | None, _option("Folder for the explainer.", "--out", "-o")] = None,
    preset: Annotated[str, _option(_one_of(PRESETS))] = DEFAULT_PRESET,
    epochs: Annotated[int | None, _option("Passes over the images.")] = None,
    batch_size: Annotated[int | None, _option("Images per step.")] = None,
    learning_rate: Annotated[float | None, _option("Peak of the one-cycle schedule.")] = None,
    seed: Annotated[int | None, _option("Of weights, order, crops and held-out part.")] = None,
    resume: Annotated[bool, _option("Continue from the checkpoint in --out.")] = False,
    overwrite: Annotated[bool, _option("Train anew even if --out holds something.")] = False,
    find_learning_rate: Annotated[
        bool, _option("Run a learning-rate range test instead, and plot it into --out.")
    ] = False,
    held_out_share: Annotated[float | None, _option("Of the images, to validate on.")] = None,
    held_out_at_most: Annotated[int | None, _option("Most images to validate on.")] = None,
    workers: Annotated[int | None, _option("Processes that read photos.")] = None,
    checkpoint_every: Annotated[int | None, _option("Steps between checkpoints.")] = None,
    gradient_accumulation: Annotated[
        int | None, _option("Parts that a batch is computed in, to save memory.")
    ] = None,
    mixed_precision: Annotated[str | None, _option("no, fp16 or bf16.")] = None,
    head: Annotated[str | None, _option(_one_of(get_args(HeadVariant)), panel=_METHOD)] = None,
    without: Annotated[
        str | None,
        _option(f"What a few-shot head is to lack: {_one_of(get_args(HeadPart))}", panel=_METHOD),
    ] = None,
    maps: Annotated[
        str | None,
        _option(f"What explanations hold: {_one_of(get_args(MapScale))}", panel=_METHOD),
    ] = None,
    class_token: Annotated[
        str | None, _option("drop, or multiply patch tokens by it.", panel=_METHOD)
    ] = None,
    masking_space: Annotated[
        str | None,
        _option("raw (removed is black), normalised (mean colour) or 'by family'.", panel=_METHOD),
    ] = None,
    augmentation: Annotated[
        str | None,
        _option(
            "none, 'random crop and flip', 'random zoom and flip' or 'by family'.", panel=_METHOD
        ),
    ] = None,
    objective: Annotated[str | None, _option(_one_of(get_args(Objective)), panel=_METHOD)] = None,
    mean_map: Annotated[
        float | None, _option("How bright min-max maps are, on average.", panel=_METHOD)
    ] = None,
    details: Annotated[
        float | None, _option("How much of short-range differences maps keep.", panel=_METHOD)
    ] = None,
    map_selection: Annotated[str | None, _option("random, diagonal or max.", panel=_METHOD)] = None,
    cross_entropy_weight: Annotated[float | None, _option("Of the loss.", panel=_METHOD)] = None,
    area_weight: Annotated[float | None, _option("Of the loss.", panel=_METHOD)] = None,
    area_power: Annotated[float | None, _option("Of the area term.", panel=_METHOD)] = None,
    smoothness_weight: Annotated[float | None, _option("Of the loss.", panel=_METHOD)] = None,
    border_weight: Annotated[
        float | None, _option("Of the smoothness term.", panel=_METHOD)
    ] = None,
    bias_learning_rate_factor: Annotated[
        float | None, _option("Learning rate of biases against weights.", panel=_METHOD)
    ] = None,
    optimiser: Annotated[str | None, _option(_one_of(get_args(Optimiser)), panel=_METHOD)] = None,
    momentum: Annotated[
        float | None,
        _option(
            "Of SGD, with --find-learning-rate; a training moves it from 0.95 to 0.85 and back.",
            panel=_METHOD,
        ),
    ] = None,
    weight_decay: Annotated[float | None, _option("Of weights.", panel=_METHOD)] = None,
    weights: Weights = "default",
    image_size: ImageSize = None,
    taps: Taps = None,
    class_names: ClassNames = None,
    outputs: OutputsKind = None,
    network_option: NetworkOption = None,
    device: Device = "auto",
) -> None:
    """Train an explainer for a classifier on your images; no labels are needed.

    Interrupt it at any moment; the same command with --resume goes on.

    Example: ttame train --model timm/resnet18 --data photos/ --out my-explainer
    """
    # Everything that is a training setting and was typed overrides the preset.
    typed = dict(locals())
    from ttame.errors import DatasetError, OutputError, TrainingError
    from ttame.training.training_settings import TrainingSettings, training_settings

    names = {field.name for field in dataclasses.fields(TrainingSettings)} - {"preset"}
    changes = {name: value for name, value in typed.items() if name in names and value is not None}
    settings = training_settings(preset, **changes)
    if not data:
        raise DatasetError("no data", remedy="--data FOLDER, a list file, or 'shards-*.tar'")
    if out is None:
        raise OutputError("no place to write", remedy="--out FOLDER")
    classifier = NamedClassifier.of(typed).load()
    if find_learning_rate and resume:
        raise TrainingError(
            "--find-learning-rate with --resume: the test begins anew each time",
            remedy="one of the two",
        )
    if find_learning_rate:
        _find_learning_rate(classifier, data, out, settings, overwrite=overwrite)
    else:
        _train(classifier, data, out, settings, resume=resume, overwrite=overwrite)


def _train(
    classifier: Classifier,
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
    if resume and not begun and (out / "config.json").exists():
        # A script that restarts a killed training must not fail because it had just finished.
        if is_first_process():
            typer.echo(f"the training in {out} is complete; --overwrite trains anew")
        return
    with TrainingDisplay(classifier, settings, nothing_to_resume=resume and not begun) as display:
        explainer = train_explainer(
            classifier, data, out, settings, resume=resume, overwrite=overwrite, watch=display.show
        )
    if is_first_process():
        display.summarise(explainer.training_record, out)


def _find_learning_rate(
    classifier: Classifier,
    data: list[str],
    out: Path,
    settings: TrainingSettings,
    *,
    overwrite: bool,
) -> None:
    from ttame.cli.training_display import RangeTestDisplay
    from ttame.errors import TrainingError
    from ttame.files.atomic_writing import whole_folder
    from ttame.processes import launched_processes
    from ttame.training.learning_rate_test import find_learning_rate, write_learning_rate_plot

    if launched_processes() > 1:
        raise TrainingError("a range test in several processes", remedy="one process")
    with whole_folder(out, overwrite=overwrite) as temporary:
        with RangeTestDisplay() as display:
            found = find_learning_rate(classifier, data, settings, watch=display.show)
        found.save_json(temporary / "learning_rate.json")
        write_learning_rate_plot(found, temporary / "learning_rate.svg")
    display.summarise(found, out)
