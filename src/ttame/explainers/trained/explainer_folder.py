"""A saved explainer: a folder with ``config.json``, ``explainer.safetensors`` and a card."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ttame.classifiers.any_classifier import AnyClassifier, Explainable
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.classifier_recipe import ClassifierRecipe
from ttame.classifiers.given_network import classifier_of
from ttame.classifiers.known_classifiers import load_described_classifier
from ttame.classifiers.recipe_rules import ForbiddenRecipeError
from ttame.classifiers.typed_recipes import typed_again
from ttame.errors import (
    ANOTHER_TRAINING,
    ExplainerError,
    ExplainerFolderError,
    OtherClassifierError,
    TapError,
    WeightsError,
    either,
    setting,
)
from ttame.explainers.contract.given_explainer import not_an_explainer
from ttame.explainers.trained.attention_explainer import AttentionExplainer
from ttame.explainers.trained.explainer_config import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    ExplainerConfig,
    head_of,
    read_config,
)
from ttame.explainers.trained.explainer_places import find_explainer
from ttame.explainers.trained.head import Head
from ttame.explainers.trained.zero_shot_folder import zero_shot_of_folder
from ttame.features.tap_names import parse_tap
from ttame.images.preprocessing import Preprocessing
from ttame.memory_limit import SMALLER_NETWORK, naming_the_setting
from ttame.networks.given_module import refuse_other_than_module
from ttame.networks.giving_back import gives_everything_back
from ttame.networks.network_trace import first_line
from ttame.networks.weights_files import read_shapes, read_weights
from ttame.outputs import OwnOutputs


@gives_everything_back
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
    _refuse_other_than_trained(explainer)
    explainer.save(folder, overwrite=overwrite)


@gives_everything_back
@naming_the_setting(SMALLER_NETWORK)
def load_explainer(
    place: Path | str,
    classifier: Explainable | nn.Module | None = None,
    *,
    image_tower: nn.Module | None = None,
    weights: Path | str | None = None,
    allow_other_weights: bool = False,
    device: torch.device | str | None = None,
) -> AttentionExplainer:
    """Load a trained explainer together with its classifier.

    The folder may come from a stranger: it is read as data, and none of its code runs. A classifier
    that needs more than plain options, such as ``trust_remote_code``, is loaded by you and passed.

    Args:
        place: a bundled explainer's name, a folder, or a repository on the Hugging Face hub.
        classifier: the network to explain, or a network of timm itself. Needed if the explainer
            was trained for a network that ttame cannot load by name, or not without options that
            only you may give; else loaded as it was for training.
        image_tower: the image tower of a zero-shot classifier: the CLIP-like model, or its image
            tower. The embeddings of the texts, their names and all else are in the folder.
        weights: the file of the classifier's weights, where it is no longer where it was for
            training. Everything else is as the folder says.
        allow_other_weights: explain a classifier whose weights, or normalisation of pixels, are
            not those that the head was trained for. The maps may mean nothing.
        device: where classifier and head go; where the classifier is if not given.

    Raises:
        UnknownNameError: no such bundled explainer, folder or repository.
        ExplainerFolderError: a folder that holds no explainer, or a broken one, or one that asks
            for what only you may ask for.
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
    config = read_config(folder)
    _check_shapes(config, folder)
    if image_tower is not None:
        refuse_other_than_module(image_tower, "image tower")
        if classifier is not None or weights is not None:
            raise ExplainerError(
                "an image tower and a classifier or weights", allowed="one of them"
            )
        classifier = zero_shot_of_folder(config, folder, image_tower)
    elif classifier is not None:
        _refuse_both(weights)
        if not isinstance(classifier, AnyClassifier):
            classifier = classifier_of(classifier)
        classifier = _passed(config, folder, classifier)
    else:
        classifier = _described(config, folder, weights, device)
    if not allow_other_weights:
        _check_fingerprint(config, classifier, folder)
        _check_normalisation(config, classifier, folder)
        _check_outputs(config, classifier, folder)
    head = head_of(config, folder / CONFIG_FILE)
    _load_head(head, folder / WEIGHTS_FILE)
    explained: Any = classifier
    explainer = AttentionExplainer(explained, head, method=config.method, training=config.training)
    if device is not None:
        # Last, so that a network which is refused stays where it is.
        classifier.network.to(device)
        explainer.head.to(device)
    return explainer


@gives_everything_back
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
    _refuse_other_than_trained(explainer)
    import tempfile

    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api = HfApi()
        made = api.create_repo(repository, private=private, exist_ok=True)
        with tempfile.TemporaryDirectory() as temporary:
            explainer.write_files(Path(temporary))
            api.upload_folder(repo_id=repository, folder_path=temporary)
    except (HfHubHTTPError, OSError, ValueError, RuntimeError) as problem:
        raise ExplainerError(
            f"cannot upload to {repository} ({first_line(problem)})",
            remedy="a connection and `hf auth login`",
        ) from problem
    return str(made)


def _refuse_other_than_trained(value: object) -> None:
    """Only what was trained has anything to save."""
    if not isinstance(value, AttentionExplainer):
        raise not_an_explainer(value, "a trained one, of ttame.train_explainer or load_explainer")


def _in_pixels(size: Sequence[int]) -> str:
    return f"{size[0]}x{size[1]} pixels"


def _refuse_both(weights: Path | str | None) -> None:
    if weights is not None:
        raise ExplainerError(
            "both a classifier and weights for one", allowed="one of them, or neither"
        )


def _passed(config: ExplainerConfig, folder: Path, classifier: Explainable) -> Explainable:
    """A classifier that the user passed, read where the head was trained to read."""
    saved = config.classifier
    _check_kind(saved.kind, folder, classifier)
    try:
        return classifier.with_taps(saved.taps)
    except TapError as problem:
        if not isinstance(classifier, Classifier):
            raise _other_layers(folder, saved.name, classifier, problem) from problem
        trained_at = tuple(saved.preprocessing["input_size"])
        ran = classifier.trace.by_name()
        same_layers = all(ran.keys() >= set(parse_tap(text).layers) for text in saved.taps)
        if same_layers and classifier.preprocessing.input_size != trained_at:
            raise OtherClassifierError(
                f"{folder.name} on images of {_in_pixels(classifier.preprocessing.input_size)} "
                f"({problem.problem})",
                allowed=f"{_in_pixels(trained_at)}, at which it was trained, and sizes near it",
                remedy=setting("image_size", trained_at[0]),
            ) from problem
        raise _other_layers(folder, saved.name, classifier, problem) from problem


def _other_layers(
    folder: Path, trained: str, classifier: Explainable, problem: TapError
) -> OtherClassifierError:
    return OtherClassifierError(
        f"{folder} reads layers of {trained} that {classifier.name} does not have "
        f"({problem.problem})",
        remedy=f"the network it was trained for, or {ANOTHER_TRAINING}",
    )


def _check_kind(trained: str, folder: Path, classifier: Explainable) -> None:
    if trained != classifier.kind:
        raise OtherClassifierError(
            f"{folder} was trained for a classifier of {trained}, but {classifier.name} is one of "
            f"{classifier.kind}",
            remedy="the network it was trained for",
        )


def _described(
    config: ExplainerConfig,
    folder: Path,
    weights: Path | str | None,
    device: torch.device | str | None,
) -> Classifier:
    """The classifier that the folder describes."""
    saved = config.classifier
    if saved.kind == "texts":
        raise ExplainerError(
            f"{folder} explains {saved.name}, a classifier of texts",
            remedy="ttame.text.load_explainer(...), or load_explainer(..., classifier=...)",
        )
    if saved.recipe is None or saved.outputs == OwnOutputs.kind:
        raise ExplainerError(
            f"{folder} explains {saved.name}, which ttame cannot load by name",
            remedy="load_explainer(..., classifier=Classifier(your_network, ...))"
            if saved.texts is None
            else "load_explainer(..., image_tower=model), with the CLIP-like model; the embeddings "
            "of its texts are in the folder",
        )
    recipe = saved.recipe
    if recipe.weights == "none" and recipe.weights_seed is None:
        raise ExplainerError(
            f"{folder} was trained for random weights of {recipe.name} without a seed, which "
            "cannot be made again",
            remedy="load_explainer(..., classifier=...) with the network it was trained for",
        )
    described = ClassifierRecipe(
        recipe.name,
        recipe.weights,
        recipe.image_size,
        recipe.network_options,
        recipe.class_names,
        saved.outputs,
        recipe.weights_seed,
        Preprocessing.from_json(saved.preprocessing) if recipe.own_preprocessing else None,
    )
    try:
        return load_described_classifier(described, taps=saved.taps, weights=weights, device=device)
    except ForbiddenRecipeError as problem:
        raise _forbidden(problem, folder, described) from problem
    except WeightsError as problem:
        moved = weights is None and os.path.isabs(recipe.weights)
        if not moved or os.path.exists(recipe.weights):
            raise
        raise WeightsError(
            f"{folder} was trained for {recipe.name} with weights {recipe.weights}, which do "
            "not exist any more",
            remedy=either(
                "load_explainer(..., weights=FILE)",
                f"ttame explain --explainer {folder} --weights FILE",
            )
            + ", with the place where they are now",
        ) from problem


def _forbidden(
    problem: ForbiddenRecipeError, folder: Path, recipe: ClassifierRecipe
) -> ExplainerFolderError:
    """What the folder asks for, and how its user can ask for it."""
    return ExplainerFolderError(
        f"{folder} asks for {problem.problem}, which only you may ask for",
        allowed=f"in a file {problem.allowed}",
        remedy=either(
            "load_explainer(..., classifier=load_classifier(...))",
            f"ttame explain --explainer {folder} {typed_again(recipe)}",
        )
        + ", if you trust it",
    )


def _check_normalisation(config: ExplainerConfig, classifier: Explainable, folder: Path) -> None:
    """The same weights see other images where pixels are normalised in another way."""
    if not isinstance(classifier, Classifier):
        return  # Its word embeddings are among the weights.
    trained = Preprocessing.from_json(config.classifier.preprocessing)
    now = classifier.preprocessing
    if (now.mean, now.std) != (trained.mean, trained.std):
        raise OtherClassifierError(
            f"{folder} was trained on images of mean {trained.mean} and std {trained.std}, but "
            f"{classifier.name} normalises with mean {now.mean} and std {now.std}",
            remedy=f"the same preprocessing, {ANOTHER_TRAINING}, or "
            f"{setting('allow_other_weights', True)} if you know better",
        )


def _check_outputs(config: ExplainerConfig, classifier: Explainable, folder: Path) -> None:
    """The same numbers mean other probabilities where they are read in another way."""
    trained, now = config.classifier.outputs, classifier.outputs.kind
    if trained != now:
        raise OtherClassifierError(
            f"{folder} was trained for outputs of kind {trained!r}, but those of "
            f"{classifier.name} are read as {now!r}",
            remedy=setting("outputs", trained),
        )


def _check_fingerprint(config: ExplainerConfig, classifier: Explainable, folder: Path) -> None:
    found = classifier.fingerprint()
    if found != config.classifier.fingerprint:
        recipe = classifier.recipe
        seed = None if recipe is None else recipe.weights_seed
        random = f", drawn with seed {seed}; other versions of torch and timm may draw others"
        raise OtherClassifierError(
            f"{folder} was trained for {config.classifier.name} with weights "
            f"{config.classifier.fingerprint[:12]}, but {classifier.name} has weights {found[:12]}"
            + ("" if seed is None else random),
            remedy=f"the same weights, {ANOTHER_TRAINING}, or "
            f"{setting('allow_other_weights', True)} if you know better",
        )


def _check_shapes(config: ExplainerConfig, folder: Path) -> None:
    """See that the head is the one in the weights file, before either takes memory."""
    path = folder / WEIGHTS_FILE
    try:
        held = read_shapes(path)
        with torch.device("meta"):
            described = head_of(config, folder / CONFIG_FILE).state_dict()
    except WeightsError as problem:
        raise ExplainerFolderError(str(problem)) from problem
    except RuntimeError as problem:
        raise ExplainerFolderError(
            f"{folder / CONFIG_FILE} is broken at 'head' ({first_line(problem)})"
        ) from problem
    shapes = {name: tuple(tensor.shape) for name, tensor in described.items()}
    other = sorted(name for name in shapes | held if shapes.get(name) != held.get(name))
    if other:
        raise ExplainerFolderError(
            f"{path} does not fit its {CONFIG_FILE} ({len(other)} tensors are missing, unknown or "
            f"of another shape, e.g. {other[0][:60]})"
        )


def _load_head(head: Head, path: Path) -> None:
    try:
        weights = read_weights(path)
        head.load_state_dict(weights)
    except WeightsError as problem:
        raise ExplainerFolderError(str(problem)) from problem
    except RuntimeError as problem:
        raise ExplainerFolderError(
            f"{path} does not fit its {CONFIG_FILE} ({first_line(problem)})"
        ) from problem
