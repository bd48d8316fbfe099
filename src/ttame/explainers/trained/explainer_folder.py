"""A saved explainer: a folder with ``config.json``, ``explainer.safetensors`` and a card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ttame.classifiers.any_classifier import Explainable
from ttame.classifiers.classifier import Classifier
from ttame.errors import (
    ExplainerError,
    ExplainerFolderError,
    WeightsError,
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
from ttame.explainers.trained.saved_networks import SavedNetwork
from ttame.explainers.trained.zero_shot_folder import zero_shot_of_folder
from ttame.memory_limit import SMALLER_NETWORK, naming_the_setting
from ttame.networks.given_module import refuse_other_than_module
from ttame.networks.giving_back import gives_everything_back
from ttame.networks.network_trace import first_line
from ttame.networks.weights_files import read_shapes, read_weights


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
    features_from: Classifier | nn.Module | None = None,
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
        features_from: the network whose features the head reads, or a network of timm itself; of
            an explainer that was trained on another network's. Needed as ``classifier`` is.
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
    network = SavedNetwork(config.classifier, folder)
    if image_tower is not None:
        refuse_other_than_module(image_tower, "image tower")
        if classifier is not None or weights is not None:
            raise ExplainerError(
                "an image tower and a classifier or weights", allowed="one of them"
            )
        classifier = zero_shot_of_folder(config, folder, image_tower)
    elif classifier is not None:
        _refuse_both(weights)
        classifier = network.passed(classifier)
    else:
        classifier = network.described(weights, device)
    if not allow_other_weights:
        network.check(classifier)
    other = _other_network(config, folder, features_from, allow_other_weights, device)
    head = head_of(config, folder / CONFIG_FILE)
    _load_head(head, folder / WEIGHTS_FILE)
    explained: Any = classifier
    explainer = AttentionExplainer(explained, head, config.method, config.training, other)
    if device is not None:
        # Last, so that a network which is refused stays where it is.
        for module in (classifier.network, explainer.head, *([other.network] if other else [])):
            module.to(device)
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


def _other_network(
    config: ExplainerConfig,
    folder: Path,
    given: Classifier | nn.Module | None,
    allow_other_weights: bool,
    device: torch.device | str | None,
) -> Classifier | None:
    """The network whose features the head reads, if it is not the explained one."""
    saved = config.features_from
    if saved is None:
        if given is not None:
            raise ExplainerError(
                f"features from another network for {folder}, whose head reads those of "
                f"{config.classifier.name} itself",
                remedy="leaving features_from out",
            )
        return None
    network = SavedNetwork(saved, folder, "features_from")
    other = network.described(device=device) if given is None else network.passed(given)
    if not allow_other_weights:
        network.check(other)
    assert isinstance(other, Classifier)
    return other


def _refuse_both(weights: Path | str | None) -> None:
    if weights is not None:
        raise ExplainerError(
            "both a classifier and weights for one", allowed="one of them, or neither"
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
