"""What a saved explainer's ``config.json`` says: its head, its classifier and its training."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pydantic
from torch import Tensor

from ttame.classifiers.any_classifier import Explainable, Kind
from ttame.classifiers.classifier_recipe import ClassifierRecipe
from ttame.classifiers.features_from import taken_apart
from ttame.errors import TRAINING, ExplainerFolderError, TtameError, either
from ttame.explainers.trained.head import Head, HeadConfig
from ttame.explainers.trained.known_head_settings import head_settings_from_json
from ttame.explainers.trained.known_heads import make_head
from ttame.explainers.trained.older_config import of_schema_1
from ttame.explainers.trained.strict_model import PER_TAP, Count, StrictModel, Text
from ttame.explainers.trained.trained_cards import TRAINED_CARDS
from ttame.features.tap_choice import MOST_TAPS
from ttame.features.tap_names import Tap
from ttame.files.bounded_reading import UnreadableFileError
from ttame.files.json_files import read_json
from ttame.files.printable_names import printable
from ttame.images.preprocessing import Preprocessing
from ttame.networks.layer_outputs import uncompiled
from ttame.networks.network_trace import first_line
from ttame.networks.zero_shot_scores import ZeroShotScores
from ttame.outputs import OUTPUTS, SOFTMAX, OwnOutputs

_LARGEST_FILE = 16 * 2**20
"""Bytes; room for a hundred thousand class names."""

_LONGEST_SIDE = 10**6
"""Pixels; far from what anybody has."""

_MOST_TOKENS = "most_tokens"

SCHEMA_VERSION = 2
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "explainer.safetensors"
CARD_FILE = "README.md"
TEXTS_FILE = "text_embeddings.safetensors"
"""Of a zero-shot classifier: the rows that its texts give."""


_Side = Annotated[int, pydantic.Field(strict=True, ge=1, le=_LONGEST_SIDE)]


def _all_text(names: object) -> object:
    # Before pydantic, which would make an error of each of a million numbers.
    if isinstance(names, list | tuple) and not all(isinstance(name, str) for name in names):
        raise ValueError("names should be text")
    return names


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
    """Preprocessing that can be read, of numbers that can be; of texts, the longest one."""
    if set(content) == {_MOST_TOKENS}:
        most = content[_MOST_TOKENS]
        if isinstance(most, bool) or not isinstance(most, int) or not 0 < most <= 2**31:
            raise ValueError(f"{_MOST_TOKENS} should be a number of tokens")
        return content
    try:
        read = Preprocessing.from_json(content)
    except (TtameError, TypeError, ValueError, OverflowError) as problem:
        raise ValueError(first_line(problem)[:300]) from problem
    if max(read.input_size + read.resized_sides()) > _LONGEST_SIDE:
        raise ValueError(f"sides should be up to {_LONGEST_SIDE} pixels")
    if not all(math.isfinite(value) for value in (*read.mean, *read.std)):
        raise ValueError("mean and std should be finite")
    return content


class _SavedHead(StrictModel):
    settings: dict[str, Any]
    channels: Annotated[tuple[Count, ...], PER_TAP]
    number_of_classes: Count
    inputs: dict[str, Any]


class _SavedRecipe(StrictModel):
    name: Text
    weights: Text
    image_size: tuple[_Side, _Side] | None
    network_options: dict[str, Any]
    # Files of older versions have neither.
    class_names: Annotated[tuple[str, ...] | None, pydantic.BeforeValidator(_all_text)] = None
    weights_seed: Annotated[int, pydantic.Field(strict=True, ge=0, lt=2**63)] | None = None
    # Whether the preprocessing was said, instead of the library's own.
    own_preprocessing: bool = False


class SavedClassifier(StrictModel):
    """A network as ``config.json`` describes it."""

    name: Text
    fingerprint: Text
    recipe: _SavedRecipe | None
    # None of a network that is explained by another one's features.
    taps: Annotated[tuple[Text, ...], pydantic.Field(max_length=MOST_TAPS)]
    preprocessing: Annotated[dict[str, Any], pydantic.AfterValidator(_plausible)]
    # Files of older versions have none.
    outputs: Annotated[str, pydantic.AfterValidator(_kind_of_outputs)] = SOFTMAX.kind
    # The names of its classes, where it is a zero-shot classifier.
    texts: Annotated[tuple[str, ...] | None, pydantic.BeforeValidator(_all_text)] = None

    @property
    def kind(self) -> Kind:
        """Which kind of classifier it is."""
        return "texts" if _MOST_TOKENS in self.preprocessing else "images"


class ExplainerConfig(StrictModel):
    """What ``config.json`` holds; checked when it is read."""

    schema_version: int
    ttame_version: Text
    method: Annotated[str, pydantic.AfterValidator(_known)]
    head: _SavedHead
    classifier: SavedClassifier
    # The network whose features the head reads, if it is not the classifier itself.
    features_from: SavedClassifier | None = None
    training: dict[str, Any]

    @property
    def seen(self) -> SavedClassifier:
        """The network whose features the head reads."""
        return self.classifier if self.features_from is None else self.features_from


def texts_of(classifier: Explainable) -> dict[str, Tensor] | None:
    """The rows that the texts of a zero-shot classifier give; ``None`` for others."""
    network = uncompiled(classifier.network)
    return network.rows() if isinstance(network, ZeroShotScores) else None


def config_of(
    classifier: Explainable, head: Head, *, method: str, training: Mapping[str, Any]
) -> ExplainerConfig:
    """What there is to know of an explainer besides its weights.

    Args:
        classifier: that it explains, perhaps with the features of another network.
        head: trained.
        method: name in the registry.
        training: what is known about its training.
    """
    from ttame.version import __version__

    made_of = head.to_config()
    explained, other = taken_apart(classifier)
    return ExplainerConfig(
        schema_version=SCHEMA_VERSION,
        ttame_version=__version__,
        method=method,
        head=_SavedHead(
            settings=made_of.settings.as_json(),
            channels=made_of.channels,
            number_of_classes=made_of.number_of_classes,
            inputs=dict(made_of.inputs),
        ),
        classifier=_saved(explained, () if other else explained.taps),
        features_from=None if other is None else _saved(other, other.taps),
        training=dict(training),
    )


def _saved(classifier: Explainable, taps: Sequence[Tap]) -> SavedClassifier:
    return SavedClassifier(
        name=printable(classifier.name),
        fingerprint=classifier.fingerprint(),
        recipe=_saved_recipe(classifier.recipe),
        taps=tuple(tap.to_config() for tap in taps),
        preprocessing=classifier.inputs_as_json(),
        outputs=classifier.outputs.kind,
        texts=None if texts_of(classifier) is None else classifier.class_names,
    )


def _saved_recipe(recipe: ClassifierRecipe | None) -> _SavedRecipe | None:
    """``None`` where the classifier has to be passed, as JSON holds no names but UTF-8."""
    if recipe is None or any(text != printable(text) for text in (recipe.name, recipe.weights)):
        return None
    return _SavedRecipe(
        name=recipe.name,
        weights=recipe.weights,
        image_size=recipe.image_size,
        network_options=dict(recipe.network_options),
        class_names=recipe.class_names,
        weights_seed=recipe.weights_seed,
        own_preprocessing=recipe.preprocessing is not None,
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
            remedy=either("train_explainer(..., resume=True)", "ttame train --resume")
            + ", since its training is unfinished"
            if unfinished
            else f"the folder that {TRAINING} wrote",
        )
    content = _json_in(path)
    schema = content.get("schema_version") if isinstance(content, Mapping) else SCHEMA_VERSION
    if schema not in (1, SCHEMA_VERSION) or isinstance(schema, bool):
        raise ExplainerFolderError(
            f"{path} has schema {schema!r:.60}",
            allowed=f"schema {SCHEMA_VERSION} or 1",
            remedy="the version of ttame that wrote it",
        )
    try:
        return ExplainerConfig.model_validate(of_schema_1(content) if schema == 1 else content)
    except pydantic.ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part)[:60] for part in first["loc"])
        raise ExplainerFolderError(f"{path} is broken at {where!r}: {first['msg']}") from problem


def _json_in(path: Path) -> Any:
    try:
        return read_json(path, largest=_LARGEST_FILE)
    except UnreadableFileError as problem:
        raise ExplainerFolderError(f"{path} is not readable JSON ({problem})") from problem


def head_of(config: ExplainerConfig, path: Path) -> Head:
    """The head that a configuration describes, untrained.

    Args:
        config: the config of the explainer.
        path: the path of the file, for messages.

    Raises:
        ExplainerFolderError: it describes a head that cannot be.
    """
    saved = config.head
    try:
        settings = head_settings_from_json(saved.settings)
        made_of = HeadConfig(settings, saved.channels, saved.number_of_classes, saved.inputs)
        return make_head(made_of)
    except TtameError as problem:
        raise ExplainerFolderError(f"{path} is broken at 'head' ({problem.problem})") from problem
