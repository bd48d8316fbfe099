"""Networks of torchvision."""

from __future__ import annotations

import functools
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from ttame.classifiers.classifier_recipe import ClassifierRecipe
from ttame.classifiers.sources.connection import is_reachable
from ttame.classifiers.sources.network_source import LoadedNetwork, NetworkSource, with_image_size
from ttame.errors import (
    OTHER_WEIGHTS,
    ClassifierError,
    UnknownNameError,
    WeightsError,
    setting,
)
from ttame.images.preprocessing import Preprocessing
from ttame.networks.network_trace import first_line


@functools.cache
def names() -> tuple[str, ...]:
    """All classification networks of torchvision."""
    import torchvision.models

    return tuple(torchvision.models.list_models(module=torchvision.models))


def load_network(recipe: ClassifierRecipe) -> LoadedNetwork:
    """Build a torchvision network; with weights ``"default"`` download its newest ones.

    torchvision publishes its weights as pickles. They are read by torch's restricted reader
    (``weights_only``), which runs no code, and only if their hash is the one in their name.

    Raises:
        UnknownNameError: no such network.
        WeightsError: the weights cannot be downloaded, or do not fit ``network_options``.
        ClassifierError: torchvision refuses an option.
    """
    import torchvision.models

    name = recipe.name.partition("/")[2]
    if name not in names():
        raise UnknownNameError.of("torchvision network", name, names())
    published = torchvision.models.get_model_weights(name).DEFAULT
    options = dict(recipe.network_options)
    if recipe.image_size and name.startswith("vit_"):
        if recipe.image_size[0] != recipe.image_size[1]:
            raise ClassifierError(
                f"image size {recipe.image_size} for {recipe.name}", allowed="a square one"
            )
        options.setdefault("image_size", recipe.image_size[0])
    network = _build(name, options)
    if recipe.weights == "default":
        _load_published(network, published, recipe)
    preprocessing = with_image_size(
        Preprocessing.from_torchvision(published.transforms()), recipe.image_size
    )
    categories = tuple(published.meta["categories"])
    fits = options.get("num_classes", len(categories)) == len(categories)
    return LoadedNetwork(network, preprocessing, categories if fits else None)


def _build(name: str, options: dict[str, Any]) -> nn.Module:
    import torchvision.models

    if name in ("googlenet", "inception_v3"):
        # Their own initialisation takes a minute and warns; the weights are replaced anyway.
        options.setdefault("init_weights", False)
    try:
        network: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    except (TypeError, ValueError, RuntimeError, AssertionError) as problem:
        raise ClassifierError(
            f"torchvision/{name} refuses {options} ({first_line(problem)})"
        ) from problem
    return network


def _load_published(network: nn.Module, published: Any, recipe: ClassifierRecipe) -> None:
    import torchvision.models
    from torchvision.models.vision_transformer import interpolate_embeddings

    remedy = OTHER_WEIGHTS
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(published.url).name
    if not cached.is_file() and not is_reachable(published.url):
        raise WeightsError(
            f"the weights of {recipe.name} cannot be downloaded (no connection to {published.url})",
            remedy=remedy,
        )
    try:
        weights = published.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as problem:
        raise WeightsError(
            f"the weights of {recipe.name} cannot be read from {published.url} or {cached} "
            f"({first_line(problem)})",
            remedy=f"deleting {cached}, if it is there and damaged; {remedy}",
        ) from problem
    # Auxiliary classifiers (GoogLeNet, Inception) exist in some published files only.
    own = network.state_dict()
    weights = {key: value for key, value in weights.items() if key in own or "aux" not in key}
    weights.update(
        {key: value for key, value in own.items() if "aux" in key and key not in weights}
    )
    if isinstance(network, torchvision.models.VisionTransformer):
        weights = interpolate_embeddings(network.image_size, network.patch_size, weights)
    try:
        network.load_state_dict(weights)
    except RuntimeError as problem:
        raise WeightsError(
            f"the published weights of {recipe.name} do not fit {dict(recipe.network_options)}",
            remedy=setting("weights", "none"),
        ) from problem


SOURCE = NetworkSource(load_network, "num_classes", names)
