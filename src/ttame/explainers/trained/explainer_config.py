"""What a saved explainer's ``config.json`` says: its head, its classifier and its training."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pydantic

from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError, ExplainerFolderError, TtameError
from ttame.explainers.trained.attention_head import AttentionHead
from ttame.explainers.trained.head_plan import TrainedHead
from ttame.explainers.trained.head_settings import (
    ClassTokenUse,
    HeadSettings,
    HeadVariant,
    MapScale,
)
from ttame.explainers.trained.shared_head import HeadInputs, SharedHead
from ttame.explainers.trained.trained_cards import TRAINED_CARDS
from ttame.features.tap_choice import MOST_TAPS
from ttame.files.bounded_reading import UnreadableFileError
from ttame.files.json_files import read_json
from ttame.images.preprocessing import Preprocessing
from ttame.networks.network_trace import first_line
from ttame.outputs import OUTPUTS, SOFTMAX, OwnOutputs

_LARGEST_FILE = 16 * 2**20
"""Bytes; room for a hundred thousand class names."""

# Far from what anybody has. What a recipe may make ttame allocate is bounded more tightly where it
# is followed, and a head by what its weights file holds.
_MOST = 10**7
_LONGEST_SIDE = 10**6
_LONGEST_NAME = 10_000
_MOST_FIELDS = 100

SCHEMA_VERSION = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "explainer.safetensors"
CARD_FILE = "README.md"


_Text = Annotated[str, pydantic.Field(max_length=_LONGEST_NAME)]
_Count = Annotated[int, pydantic.Field(strict=True, ge=1, le=_MOST)]
_Position = Annotated[int, pydantic.Field(strict=True, ge=0, lt=MOST_TAPS)]
_Side = Annotated[int, pydantic.Field(strict=True, ge=1, le=_LONGEST_SIDE)]
_PER_TAP = pydantic.Field(min_length=1, max_length=MOST_TAPS)


def _all_text(names: object) -> object:
    # Before pydantic, which would make an error of each of a million numbers.
    if isinstance(names, list | tuple) and not all(isinstance(name, str) for name in names):
        raise ValueError("names should be text")
    return names


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _few_fields(cls, content: object) -> object:
        # A million unknown ones would each become an error of its own.
        if isinstance(content, Mapping) and len(content) > _MOST_FIELDS:
            raise ValueError(f"{len(content)} entries, where at most {_MOST_FIELDS} make sense")
        return content


def _known(method: str) -> str:
    if method not in TRAINED_CARDS:
        raise ValueError(f"{method[:60]!r} is not a trained method")
    return method


def _kind_of_outputs(kind: str) -> str:
    known = [*OUTPUTS, OwnOutputs.kind]
    if kind not in known:
        raise ValueError(f"{kind[:60]!r} is not one of {', '.join(known)}")
    return kind


def _plausible(content: dict[str, Any]) -> dict[str, Any]:
    """Preprocessing that can be read, of numbers that can be."""
    try:
        read = Preprocessing.from_json(content)
    except (TtameError, TypeError, ValueError, OverflowError) as problem:
        raise ValueError(first_line(problem)[:300]) from problem
    if max(read.input_size + read.resized_sides()) > _LONGEST_SIDE:
        raise ValueError(f"sides should be up to {_LONGEST_SIDE} pixels")
    if not all(math.isfinite(value) for value in (*read.mean, *read.std)):
        raise ValueError("mean and std should be finite")
    return content


class _SavedFewShot(_Strict):
    prior: bool
    embedding: bool
    gate: bool
    branched: Annotated[tuple[_Position, ...], _PER_TAP]
    pooled: _Position | None
    class_layer: _Text
    class_width: Annotated[int, pydantic.Field(strict=True, ge=0, le=_MOST)]
    # Files of older versions have none.
    details: Annotated[float, pydantic.Field(ge=0, le=1)] = 1.0


class _SavedHead(_Strict):
    variant: HeadVariant
    class_token: ClassTokenUse
    channels: Annotated[tuple[_Count, ...], _PER_TAP]
    number_of_classes: _Count
    # Files of older versions have neither.
    maps: MapScale = "raw"
    few_shot: _SavedFewShot | None = None


class _SavedRecipe(_Strict):
    name: _Text
    weights: _Text
    image_size: tuple[_Side, _Side] | None
    network_options: dict[str, Any]
    # Files of older versions have neither.
    class_names: Annotated[tuple[str, ...] | None, pydantic.BeforeValidator(_all_text)] = None
    weights_seed: Annotated[int, pydantic.Field(strict=True, ge=0, lt=2**63)] | None = None
    # Whether the preprocessing was said, instead of the library's own.
    own_preprocessing: bool = False


class _SavedClassifier(_Strict):
    name: _Text
    fingerprint: _Text
    recipe: _SavedRecipe | None
    taps: Annotated[tuple[_Text, ...], _PER_TAP]
    preprocessing: Annotated[dict[str, Any], pydantic.AfterValidator(_plausible)]
    # Files of older versions have none.
    outputs: Annotated[str, pydantic.AfterValidator(_kind_of_outputs)] = SOFTMAX.kind


class ExplainerConfig(_Strict):
    """What ``config.json`` holds; checked when it is read."""

    schema_version: int
    ttame_version: _Text
    method: Annotated[str, pydantic.AfterValidator(_known)]
    head: _SavedHead
    classifier: _SavedClassifier
    training: dict[str, Any]


def config_of(
    classifier: Classifier, head: TrainedHead, *, method: str, training: Mapping[str, Any]
) -> ExplainerConfig:
    """What there is to know of an explainer besides its weights.

    Args:
        classifier: that it explains.
        head: trained.
        method: name in the registry.
        training: what is known about its training.
    """
    from ttame.version import __version__

    recipe = classifier.recipe
    return ExplainerConfig(
        schema_version=SCHEMA_VERSION,
        ttame_version=__version__,
        method=method,
        head=_SavedHead(
            variant=head.settings.variant,
            class_token=head.settings.class_token,
            channels=head.channels,
            number_of_classes=head.number_of_classes,
            maps=head.settings.maps,
            few_shot=_saved_few_shot(head) if isinstance(head, SharedHead) else None,
        ),
        classifier=_SavedClassifier(
            name=classifier.name,
            fingerprint=classifier.fingerprint(),
            recipe=None
            if recipe is None
            else _SavedRecipe(
                name=recipe.name,
                weights=recipe.weights,
                image_size=recipe.image_size,
                network_options=dict(recipe.network_options),
                class_names=recipe.class_names,
                weights_seed=recipe.weights_seed,
                own_preprocessing=recipe.preprocessing is not None,
            ),
            taps=tuple(tap.to_config() for tap in classifier.taps),
            preprocessing=classifier.preprocessing.as_json(),
            outputs=classifier.outputs.kind,
        ),
        training=dict(training),
    )


def _saved_few_shot(head: SharedHead) -> _SavedFewShot:
    inputs, settings = head.inputs, head.settings
    return _SavedFewShot(
        prior=settings.prior,
        embedding=settings.embedding,
        gate=settings.gate,
        details=settings.details,
        branched=inputs.branched,
        pooled=inputs.pooled,
        class_layer=inputs.class_layer,
        class_width=inputs.class_width,
    )


def read_config(folder: Path) -> ExplainerConfig:
    """Read and check the ``config.json`` of an explainer's folder.

    Raises:
        ExplainerFolderError: there is none, it is broken, or of another version of ttame.
    """
    path = folder / CONFIG_FILE
    if not os.path.isfile(path):
        unfinished = (folder / "checkpoint.safetensors").exists()
        raise ExplainerFolderError(
            f"{folder} holds no explainer ({CONFIG_FILE} is missing)",
            remedy="ttame train --resume, since its training is unfinished"
            if unfinished
            else "the folder that `ttame train --out FOLDER` wrote",
        )
    content = _json_in(path)
    if isinstance(content, Mapping) and content.get("schema_version") != SCHEMA_VERSION:
        raise ExplainerFolderError(
            f"{path} has schema {content.get('schema_version')!r:.60}",
            allowed=f"schema {SCHEMA_VERSION}",
            remedy="the version of ttame that wrote it",
        )
    try:
        return ExplainerConfig.model_validate(content)
    except pydantic.ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part)[:60] for part in first["loc"])
        raise ExplainerFolderError(f"{path} is broken at {where!r}: {first['msg']}") from problem


def _json_in(path: Path) -> Any:
    try:
        return read_json(path, largest=_LARGEST_FILE)
    except UnreadableFileError as problem:
        raise ExplainerFolderError(f"{path} is no readable JSON ({problem})") from problem


def head_of(config: ExplainerConfig, path: Path) -> TrainedHead:
    """The head that a configuration describes, untrained.

    Args:
        config: of the explainer.
        path: of the file, for messages.

    Raises:
        ExplainerFolderError: it describes a head that cannot be.
    """
    saved = config.head
    settings = HeadSettings(saved.variant, saved.class_token, saved.maps)
    parts = saved.few_shot
    if (parts is not None) != (saved.variant == "few-shot"):
        raise ExplainerFolderError(f"{path} is broken at 'head.few_shot'")
    if parts is None:
        try:
            return AttentionHead(saved.channels, saved.number_of_classes, settings)
        except ExplainerError as problem:
            raise _broken_head(path, problem) from problem
    settings = dataclasses.replace(
        settings,
        prior=parts.prior,
        embedding=parts.embedding,
        gate=parts.gate,
        details=parts.details,
    )
    try:
        inputs = HeadInputs(
            channels=saved.channels,
            branched=parts.branched,
            pooled=parts.pooled,
            class_layer=parts.class_layer,
            class_width=parts.class_width,
        )
        return SharedHead(inputs, saved.number_of_classes, settings)
    except ExplainerError as problem:
        raise _broken_head(path, problem) from problem


def _broken_head(path: Path, problem: ExplainerError) -> ExplainerFolderError:
    return ExplainerFolderError(f"{path} is broken at 'head' ({problem.problem})")
