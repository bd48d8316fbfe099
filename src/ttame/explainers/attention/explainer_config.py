"""What a saved explainer's ``config.json`` says: its head, its classifier and its training."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pydantic

from ttame.errors import ExplainerError, ExplainerFolderError
from ttame.explainers.attention.attention_explainer import AttentionExplainer
from ttame.explainers.attention.attention_head import AttentionHead
from ttame.explainers.attention.head_plan import TrainedHead
from ttame.explainers.attention.head_settings import (
    ClassTokenUse,
    HeadSettings,
    HeadVariant,
    MapScale,
)
from ttame.explainers.attention.shared_head import HeadInputs, SharedHead

SCHEMA_VERSION = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "explainer.safetensors"
CARD_FILE = "README.md"


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class _SavedFewShot(_Strict):
    prior: bool
    embedding: bool
    gate: bool
    branched: tuple[int, ...]
    pooled: int | None
    class_layer: str
    class_width: int
    # Files of older versions have none.
    details: float = 1.0


class _SavedHead(_Strict):
    variant: HeadVariant
    class_token: ClassTokenUse
    channels: tuple[int, ...]
    number_of_classes: int
    # Files of older versions have neither.
    maps: MapScale = "raw"
    few_shot: _SavedFewShot | None = None


class _SavedRecipe(_Strict):
    name: str
    weights: str
    image_size: tuple[int, int] | None
    network_options: dict[str, Any]
    # Files of older versions have none.
    class_names: tuple[str, ...] | None = None


class _SavedClassifier(_Strict):
    name: str
    fingerprint: str
    recipe: _SavedRecipe | None
    taps: tuple[str, ...]
    preprocessing: dict[str, Any]


class ExplainerConfig(_Strict):
    """What ``config.json`` holds; checked when it is read."""

    schema_version: int
    ttame_version: str
    method: str
    head: _SavedHead
    classifier: _SavedClassifier
    training: dict[str, Any]


def config_of(explainer: AttentionExplainer) -> ExplainerConfig:
    """What there is to know of an explainer besides its weights."""
    from ttame.version import __version__

    classifier, head = explainer.classifier, explainer.head
    recipe = classifier.recipe
    return ExplainerConfig(
        schema_version=SCHEMA_VERSION,
        ttame_version=__version__,
        method=explainer.method,
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
            ),
            taps=tuple(tap.layer for tap in classifier.taps),
            preprocessing=classifier.preprocessing.as_json(),
        ),
        training=explainer.training_record,
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
    if not path.is_file():
        unfinished = (folder / "checkpoint.safetensors").exists()
        raise ExplainerFolderError(
            f"{folder} holds no explainer ({CONFIG_FILE} is missing)",
            remedy="ttame train --resume, since its training is unfinished"
            if unfinished
            else "the folder that `ttame train --out FOLDER` wrote",
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, Mapping) and content.get("schema_version") != SCHEMA_VERSION:
            raise ExplainerFolderError(
                f"{path} has schema {content.get('schema_version')}",
                allowed=f"schema {SCHEMA_VERSION}",
                remedy="the version of ttame that wrote it",
            )
        return ExplainerConfig.model_validate(content)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as problem:
        raise ExplainerFolderError(f"{path} is no readable JSON ({problem})") from problem
    except pydantic.ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ExplainerFolderError(f"{path} is broken at {where!r}: {first['msg']}") from problem


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
        return AttentionHead(saved.channels, saved.number_of_classes, settings)
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
        raise ExplainerFolderError(f"{path} is broken at 'head' ({problem.problem})") from problem
