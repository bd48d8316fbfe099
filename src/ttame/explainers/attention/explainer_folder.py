"""A saved explainer: a folder with ``config.json``, ``explainer.safetensors`` and a card."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pydantic
import torch

from ttame.atomic_writing import whole_file, whole_folder, write_json, write_tensors
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.feature_taps import CONTRIBUTIONS
from ttame.classifiers.known_classifiers import load_classifier
from ttame.classifiers.weights_files import read_weights
from ttame.errors import (
    ExplainerError,
    ExplainerFolderError,
    OtherClassifierError,
    TapError,
    UnknownNameError,
    WeightsError,
)
from ttame.explainers.attention.attention_explainer import AttentionExplainer
from ttame.explainers.attention.attention_head import AttentionHead
from ttame.explainers.attention.explainer_card import explainer_card
from ttame.explainers.attention.head_plan import TrainedHead
from ttame.explainers.attention.head_settings import (
    ClassTokenUse,
    HeadSettings,
    HeadVariant,
    MapScale,
)
from ttame.explainers.attention.shared_head import HeadInputs, SharedHead
from ttame.preprocessing import Preprocessing

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


def save_explainer(
    explainer: AttentionExplainer, folder: Path | str, *, overwrite: bool = False
) -> None:
    """Write an explainer as a folder, whole or not at all.

    Raises:
        OutputError: the folder exists, the disk is full, or the place is not writable.

    Example:
        >>> import tempfile
        >>> explainer = load_explainer("efficientnet_lite0")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_explainer(explainer, folder + "/mine")
        ...     sorted(file.name for file in Path(folder, "mine").iterdir())
        ['README.md', 'config.json', 'explainer.safetensors']
    """
    with whole_folder(folder, overwrite=overwrite) as temporary:
        write_explainer_files(explainer, temporary)


def write_explainer_files(explainer: AttentionExplainer, folder: Path) -> None:
    """Write the files into an existing folder; ``config.json`` comes last and completes it."""
    config = _config_of(explainer)
    write_tensors(folder / WEIGHTS_FILE, explainer.head.state_dict(), {"format": "pt"})
    with whole_file(folder / CARD_FILE) as temporary:
        card = explainer_card(config.model_dump(mode="json"))
        temporary.write_text(card, encoding="utf-8", errors="backslashreplace")
    write_json(folder / CONFIG_FILE, config.model_dump(mode="json"))


def load_explainer(
    place: Path | str,
    *,
    classifier: Classifier | None = None,
    allow_other_weights: bool = False,
    device: torch.device | str | None = None,
) -> AttentionExplainer:
    """Load a trained explainer together with its classifier.

    Args:
        place: a bundled explainer's name, a folder, or a repository on the Hugging Face hub.
        classifier: the network to explain. Needed if the explainer was trained for a network that
            ttame cannot load by name; else loaded as it was for training.
        allow_other_weights: explain a classifier whose weights, or normalisation of pixels, are
            not those that the head was trained for. The maps may mean nothing.
        device: where classifier and head go; where the classifier is if not given.

    Raises:
        UnknownNameError: no such bundled explainer, folder or repository.
        ExplainerFolderError: a folder that holds no explainer, or a broken one.
        OtherClassifierError: the classifier has other weights than the head was trained for, or
            normalises pixels in another way.
        ExplainerError: the classifier has another shape, or must be passed.
        WeightsError: the classifier's own weights cannot be loaded.

    Example:
        >>> explainer = load_explainer("efficientnet_lite0")
        >>> explainer.classifier.name
        'efficientnet_lite0'
    """
    folder = find_explainer(place)
    config = _read_config(folder)
    classifier = _classifier_for(config, folder, classifier, device)
    if not allow_other_weights:
        _check_fingerprint(config, classifier, folder)
        _check_normalisation(config, classifier, folder)
    head = _head_of(config.head, folder / CONFIG_FILE)
    _load_head(head, folder / WEIGHTS_FILE)
    explainer = AttentionExplainer(classifier, head, method=config.method, training=config.training)
    if device is not None:
        # Last, so that a network which is refused stays where it is.
        classifier.network.to(device)
        explainer.head.to(device)
    return explainer


def bundled_explainers() -> dict[str, Path]:
    """Name to folder of the explainers that ship with ttame.

    The default explainer of a classifier has the classifier's name; others have a second part,
    such as ``"efficientnet_lite0--t-tame"``.
    """
    root = Path(str(files("ttame.explainers") / "bundled"))
    return {folder.name: folder for folder in sorted(root.glob("*")) if folder.is_dir()}


def bundled_methods(classifier: str) -> dict[str, str]:
    """Method to name of the bundled explainers of a classifier, the default one first.

    What counts is what the folders hold, not how they are called.

    Args:
        classifier: its name.

    Example:
        >>> "efficientnet_lite0" in bundled_methods("efficientnet_lite0").values()
        True
    """
    bundled = bundled_explainers()
    methods: dict[str, str] = {}
    for name in sorted(bundled, key=lambda name: (name != classifier, name)):
        config = _read_config(bundled[name])
        if config.classifier.name == classifier:
            methods.setdefault(config.method, name)
    return methods


def find_explainer(place: Path | str) -> Path:
    """The folder of a bundled, local or downloaded explainer.

    Raises:
        UnknownNameError: there is none of that name.
        ExplainerFolderError: the hub repository cannot be downloaded.
    """
    bundled = bundled_explainers()
    if isinstance(place, str) and place in bundled:
        return bundled[place]
    folder = Path(place).expanduser()
    if folder.is_dir():
        return folder
    name = str(place)
    if folder.is_file():
        raise ExplainerFolderError(
            f"{name} is a file",
            allowed=f"a folder with {CONFIG_FILE} and {WEIGHTS_FILE}",
            remedy=str(folder.parent),
        )
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return _download(name)
    raise UnknownNameError.of(
        "explainer", name, bundled, remedy="the folder that `ttame train --out FOLDER` wrote"
    )


def push_to_hub(explainer: AttentionExplainer, repository: str, *, private: bool = False) -> str:
    """Upload an explainer to the Hugging Face hub.

    Args:
        explainer: trained.
        repository: ``"user/name"``; made if it does not exist.
        private: whether a new repository is private.

    Returns:
        The address of the repository.

    Raises:
        ExplainerError: no connection, not logged in, or no right to write.

    Example:
        >>> explainer = load_explainer("efficientnet_lite0")
        >>> push_to_hub(explainer, "you/my-explainer")  # doctest: +SKIP
    """
    import tempfile

    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api = HfApi()
        made = api.create_repo(repository, private=private, exist_ok=True)
        with tempfile.TemporaryDirectory() as temporary:
            write_explainer_files(explainer, Path(temporary))
            api.upload_folder(repo_id=repository, folder_path=temporary)
    except (HfHubHTTPError, OSError, ValueError, RuntimeError) as problem:
        raise ExplainerError(
            f"cannot upload to {repository} ({_first_line(problem)})",
            remedy="a connection and `hf auth login`",
        ) from problem
    return str(made)


def _config_of(explainer: AttentionExplainer) -> ExplainerConfig:
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


def _read_config(folder: Path) -> ExplainerConfig:
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


def _in_pixels(size: Sequence[int]) -> str:
    return f"{size[0]}x{size[1]} pixels"


def _classifier_for(
    config: ExplainerConfig,
    folder: Path,
    classifier: Classifier | None,
    device: torch.device | str | None,
) -> Classifier:
    saved = config.classifier
    if classifier is not None:
        try:
            return classifier.with_taps(saved.taps)
        except TapError as problem:
            trained_at = tuple(saved.preprocessing["input_size"])
            ran = classifier.trace.by_name()
            same_layers = all(name.removeprefix(CONTRIBUTIONS) in ran for name in saved.taps)
            if same_layers and classifier.preprocessing.input_size != trained_at:
                raise OtherClassifierError(
                    f"{folder.name} on images of {_in_pixels(classifier.preprocessing.input_size)} "
                    f"({problem.problem})",
                    allowed=f"{_in_pixels(trained_at)}, at which it was trained, and sizes near it",
                    remedy=f"--image-size {trained_at[0]}",
                ) from problem
            raise OtherClassifierError(
                f"{folder} reads layers of {saved.name} that {classifier.name} does not have "
                f"({problem.problem})",
                remedy="the network it was trained for, or a new `ttame train`",
            ) from problem
    if saved.recipe is None:
        raise ExplainerError(
            f"{folder} explains {saved.name}, which ttame cannot load by name",
            remedy="load_explainer(..., classifier=Classifier(your_network, ...))",
        )
    recipe = saved.recipe
    weights = recipe.weights
    if weights == "none":
        raise ExplainerError(
            f"{folder} was trained for random weights of {recipe.name}, which cannot be made again",
            remedy="load_explainer(..., classifier=...) with the network it was trained for",
        )
    return load_classifier(
        recipe.name,
        weights,
        image_size=recipe.image_size,
        taps=saved.taps,
        network_options=recipe.network_options,
        device=device,
    )


def _check_normalisation(config: ExplainerConfig, classifier: Classifier, folder: Path) -> None:
    """The same weights see other images where pixels are normalised in another way."""
    trained = Preprocessing.from_json(config.classifier.preprocessing)
    now = classifier.preprocessing
    if (now.mean, now.std) != (trained.mean, trained.std):
        raise OtherClassifierError(
            f"{folder} was trained on images of mean {trained.mean} and std {trained.std}, but "
            f"{classifier.name} normalises with mean {now.mean} and std {now.std}",
            remedy="the same preprocessing, a new `ttame train`, or allow_other_weights=True "
            "(--allow-other-weights) if you know better",
        )


def _check_fingerprint(config: ExplainerConfig, classifier: Classifier, folder: Path) -> None:
    found = classifier.fingerprint()
    if found != config.classifier.fingerprint:
        raise OtherClassifierError(
            f"{folder} was trained for {config.classifier.name} with weights "
            f"{config.classifier.fingerprint[:12]}, but {classifier.name} has weights {found[:12]}",
            remedy="the same weights, a new `ttame train`, or allow_other_weights=True "
            "(--allow-other-weights) if you know better",
        )


def _head_of(saved: _SavedHead, path: Path) -> TrainedHead:
    """The saved head, untrained."""
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


def _load_head(head: TrainedHead, path: Path) -> None:
    try:
        weights = read_weights(path)
        head.load_state_dict(weights)
    except WeightsError as problem:
        raise ExplainerFolderError(str(problem)) from problem
    except RuntimeError as problem:
        raise ExplainerFolderError(
            f"{path} does not fit its {CONFIG_FILE} ({_first_line(problem)})"
        ) from problem


def _download(repository: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(
            snapshot_download(repository, allow_patterns=[CONFIG_FILE, WEIGHTS_FILE, CARD_FILE])
        )
    except (HfHubHTTPError, HFValidationError, OSError, ValueError, RuntimeError) as problem:
        raise ExplainerFolderError(
            f"explainer {repository} is no folder here and cannot be downloaded "
            f"({_first_line(problem)})",
            allowed=f"{', '.join(bundled_explainers())}, a folder, or a hub repository",
        ) from problem


def _first_line(problem: Exception) -> str:
    return (str(problem).splitlines() or [type(problem).__name__])[0]
