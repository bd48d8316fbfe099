"""Loading classifiers by name."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from ttame.classifiers.classifier import Classifier, ClassifierRecipe
from ttame.classifiers.recipe_rules import refuse_forbidden
from ttame.classifiers.sources import (
    bundled,
    timm_models,
    torchvision_models,
    transformers_models,
)
from ttame.classifiers.sources.network_source import LoadedNetwork
from ttame.errors import ClassifierError, UnknownNameError, near_matches
from ttame.features.tap_names import Tap
from ttame.networks.giving_back import gives_everything_back
from ttame.networks.network_trace import first_line
from ttame.networks.weights_files import load_weights, read_weights
from ttame.outputs import SOFTMAX, Outputs, outputs_of_kind

SOURCES: dict[str, Callable[[ClassifierRecipe], LoadedNetwork]] = {
    "torchvision": torchvision_models.load_network,
    "timm": timm_models.load_network,
    "hf": transformers_models.load_network,
}
"""What stands before the slash of a classifier's name, and who builds the network."""


@gives_everything_back
def load_classifier(
    name: str,
    weights: Literal["default", "none"] | str | Path = "default",
    *,
    image_size: int | tuple[int, int] | None = None,
    taps: Sequence[str | Tap] | None = None,
    class_names: Sequence[str] | None = None,
    network_options: Mapping[str, Any] | None = None,
    outputs: Outputs | str = SOFTMAX,
    weights_seed: int = 0,
    device: torch.device | str | None = None,
) -> Classifier:
    """Load a classifier with the preprocessing that belongs to its weights.

    Args:
        name: ``"torchvision/NAME"``, ``"timm/NAME"``, ``"hf/REPO_OR_FOLDER"`` or a bundled
            classifier such as ``"efficientnet_lite0"``, which works offline.
        weights: ``"default"`` downloads the library's own; ``"none"`` leaves them random, the
            same ones whenever the seed is the same; a path to a safetensors file loads that one.
        image_size: (H, W), or one number for both, if not the network's own.
        taps: one to four layer names; chosen automatically if not given.
        class_names: C names in the order of the logits; the library's own if not given.
        network_options: passed on to the library as they are, e.g. ``{"num_classes": 10}``. With
            ``{"trust_remote_code": True}`` an ``hf/`` network may run Python code of its
            repository, with all your rights; look at that code first. The trust is for this call:
            an explainer that was trained on the network does not carry it along.
        outputs: what the network's outputs mean; see :class:`ttame.Classifier`.
        weights_seed: of random weights; another one gives others. torch's own random numbers are
            as before afterwards.
        device: where the network goes; the CPU if not given.

    Raises:
        UnknownNameError: no such network; the message has near matches.
        WeightsError: weights that cannot be downloaded, are pickles, or of another architecture.
        MissingExtraError: the library is not installed.
        ClassifierError: options that the library refuses, or a network without (B, C) logits.

    Example:
        >>> classifier = load_classifier("timm/resnet18", weights="none")
        >>> [tap.layer for tap in classifier.taps]
        ['layer2', 'layer3', 'layer4']
    """
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    if weights not in ("default", "none"):
        # A saved explainer must find the file again from wherever it is loaded.
        weights = Path(weights).expanduser().absolute()
    source, _, place = name.partition("/")
    if source == "hf" and os.path.isdir(os.path.expanduser(place)):
        name = f"hf/{Path(place).expanduser().absolute()}"
    if class_names is not None and not isinstance(class_names, str):
        class_names = tuple(class_names)
    recipe = ClassifierRecipe(
        name,
        str(weights),
        size,
        dict(network_options or {}),
        class_names if isinstance(class_names, tuple) else None,
        outputs_of_kind(outputs).kind,
        weights_seed if weights == "none" else None,
    )
    build = _find_source(name)
    with _random_weights_of(recipe.weights_seed):
        loaded = build(recipe)
    if recipe.weights not in ("default", "none"):
        load_weights(loaded.network, read_weights(recipe.weights), f"{recipe.weights}")
    loaded.network.requires_grad_(False).eval()
    if device is not None:
        _move(loaded.network, device)
    return Classifier(
        loaded.network,
        preprocessing=loaded.preprocessing,
        class_names=class_names if class_names is not None else loaded.class_names,
        taps=taps,
        outputs=outputs,
        name=name,
        recipe=recipe,
    )


@gives_everything_back
def load_described_classifier(
    recipe: ClassifierRecipe,
    *,
    taps: Sequence[str],
    device: torch.device | str | None = None,
) -> Classifier:
    """Load a classifier as a file describes it, which may come from a stranger.

    Args:
        recipe: as it was read.
        taps: layer names.
        device: where the network goes; the CPU if not given.

    Raises:
        ForbiddenRecipeError: the recipe says what only a person may say; see
            :mod:`ttame.classifiers.recipe_rules`.
        TtameError: as :func:`load_classifier`.

    Example:
        >>> recipe = ClassifierRecipe("timm/resnet18", "none", network_options={"num_classes": 5})
        >>> load_described_classifier(recipe, taps=["layer4"]).number_of_classes
        5
    """
    refuse_forbidden(recipe)
    return load_classifier(
        recipe.name,
        recipe.weights,
        image_size=recipe.image_size,
        taps=taps,
        class_names=recipe.class_names,
        network_options=recipe.network_options,
        outputs=recipe.outputs,
        weights_seed=recipe.weights_seed or 0,
        device=device,
    )


@contextlib.contextmanager
def _random_weights_of(seed: int | None) -> Iterator[None]:
    """Let what is drawn inside depend on the seed alone, and what is drawn afterwards not on it."""
    if seed is None:
        yield
        return
    # Networks are built on the CPU; torch.manual_seed would change the GPUs' numbers as well.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _move(network: nn.Module, device: torch.device | str) -> None:
    try:
        network.to(device)
    except (RuntimeError, AssertionError) as problem:
        raise ClassifierError(
            f"device {str(device)!r} cannot be used ({first_line(problem)})",
            remedy='device="cpu", or leave it out',
        ) from problem


def _find_source(name: str) -> Callable[[ClassifierRecipe], LoadedNetwork]:
    if name in bundled.BUNDLED:
        return bundled.load_network
    source, slash, rest = name.partition("/")
    if slash and rest and source in SOURCES:
        return SOURCES[source]
    if slash and source not in SOURCES and near_matches(source, SOURCES):
        raise UnknownNameError.of("source of networks", source, SOURCES)
    near = near_matches(name, bundled.BUNDLED)
    if slash and rest:
        near.append(f"hf/{name}")
    if not slash and name:
        near += [f"timm/{found}" for found in near_matches(name, timm_models.names(), 2)]
        near += [
            f"torchvision/{found}" for found in near_matches(name, torchvision_models.names(), 2)
        ]
    raise UnknownNameError(
        f"unknown classifier {name!r}",
        allowed=f"torchvision/NAME, timm/NAME, hf/REPO_OR_FOLDER, {', '.join(bundled.BUNDLED)}",
        remedy=" or ".join(dict.fromkeys(near)),
    )
