"""Loading classifiers by name."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from ttame.classifiers.classifier import Classifier
from ttame.classifiers.classifier_recipe import ClassifierRecipe
from ttame.classifiers.output_checks import said_outputs
from ttame.classifiers.recipe_rules import refuse_forbidden
from ttame.classifiers.sources import (
    bundled,
    python_callables,
    timm_folders,
)
from ttame.classifiers.sources.network_source import (
    LoadedNetwork,
    NetworkSource,
    classifies_texts,
    said_preprocessing,
    with_image_size,
)
from ttame.classifiers.weights_of_files import load_with_file
from ttame.errors import (
    ClassifierError,
    UnknownNameError,
    kind_of,
    near_matches,
    setting,
)
from ttame.features.tap_names import Tap
from ttame.images.preprocessing import Preprocessing
from ttame.images.preprocessing_changes import PreprocessingChanges
from ttame.memory_limit import SMALLER_NETWORK, naming_the_setting
from ttame.networks.giving_back import gives_everything_back
from ttame.networks.network_trace import first_line
from ttame.outputs import Outputs

_FILES = {
    "timm": "timm_models",
    "torchvision": "torchvision_models",
    "hf": "transformers_models",
}
"""What stands before the slash of a classifier's name, and a file of ``sources``: one line each."""

SOURCES: dict[str, NetworkSource] = {
    prefix: importlib.import_module(f"ttame.classifiers.sources.{file}").SOURCE
    for prefix, file in _FILES.items()
}
"""What stands before the slash, and who builds the network."""

_BUNDLED = NetworkSource(bundled.load_network, "num_classes")
_PYTHON = NetworkSource(python_callables.load_network)


def _refuse_other_names(name: object, guessed: Mapping[str, Any]) -> None:
    """Refuse a network where its name is asked for, and arguments of other libraries."""
    if not isinstance(name, str):
        raise ClassifierError(
            f"{kind_of(name)} as the name of a network",
            allowed="such as 'timm/resnet18'",
            remedy="ttame.Classifier(network, preprocessing=...), with the preprocessing of its "
            "weights"
            if isinstance(name, nn.Module)
            else "",
        )
    if "pretrained" in guessed:
        weights = "default" if guessed["pretrained"] else "none"
        raise ClassifierError(
            f"pretrained={guessed['pretrained']!r:.60}", remedy=setting("weights", weights)
        )
    for option, value in guessed.items():
        raise ClassifierError(
            f"{option}={value!r:.60}, which is not an argument of load_classifier",
            remedy=f"{setting('network_options', {option: value})} where it is the library's own",
        )


@gives_everything_back
@naming_the_setting(SMALLER_NETWORK)
def load_classifier(
    name: str,
    weights: Literal["default", "none"] | str | Path = "default",
    *,
    image_size: int | tuple[int, int] | None = None,
    preprocessing: Preprocessing | PreprocessingChanges | None = None,
    taps: Sequence[str | Tap] | None = None,
    class_names: Sequence[str] | None = None,
    network_options: Mapping[str, Any] | None = None,
    outputs: Outputs | str | None = None,
    weights_seed: int = 0,
    device: torch.device | str | None = None,
    **guessed: Any,
) -> Classifier:
    """Load a classifier with the preprocessing that belongs to its weights.

    Args:
        name: ``"torchvision/NAME"``, ``"timm/NAME"``, ``"hf/REPO_OR_FOLDER"`` or a bundled
            classifier such as ``"efficientnet_lite0"``, which works offline;
            ``"timm/hf-hub:REPO"`` and ``"timm/local-dir:FOLDER"`` for what timm's ``save_for_hf``
            wrote; ``"package.module:callable"`` or ``"path/to/file.py:callable"`` for a network
            of yours, whose code runs.
        weights: ``"default"`` downloads the library's own; ``"none"`` leaves them random, the
            same ones whenever the seed is the same; a path loads that file: safetensors, or what
            ``torch.save`` wrote of a state dict or a training loop, of which no code runs. The
            number of classes is that of the file.
        image_size: (H, W), or one number for both, if not the network's own.
        preprocessing: a whole one, or changes to the library's own.
        taps: one to four layer names; chosen automatically if not given.
        class_names: C names in the order of the logits; the library's own if not given.
        network_options: passed on to the library as they are, e.g. ``{"num_classes": 10}``. With
            ``{"trust_remote_code": True}`` an ``hf/`` network may run Python code of its
            repository, with all your rights; look at that code first. The trust is for this call:
            an explainer that was trained on the network does not carry it along.
        outputs: what the network's outputs mean; see :class:`ttame.Classifier`. If not given, what
            the configuration of the network says, else softmax.
        weights_seed: the seed of random weights; another one gives others. torch's own random
            numbers are as before afterwards.
        device: where the network goes; the CPU if not given.
        **guessed: refused, with the argument that is meant.

    Raises:
        UnknownNameError: no such network; the message has near matches.
        WeightsError: weights that cannot be downloaded, could run code, or are of another
            architecture.
        MissingExtraError: the library is not installed.
        ClassifierError: options that the library refuses, or a network without (B, C) logits.

    Example:
        >>> classifier = load_classifier("timm/resnet18", weights="none")
        >>> [tap.layer for tap in classifier.taps]
        ['layer2', 'layer3', 'layer4']
    """
    _refuse_other_names(name, guessed)
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    if weights not in ("default", "none"):
        # A saved explainer must find the file again from wherever it is loaded.
        weights = Path(weights).expanduser().absolute()
    name = _found_from_everywhere(name)
    if class_names is not None and not isinstance(class_names, str):
        class_names = tuple(class_names)
    whole = _whole(preprocessing, size)
    recipe = ClassifierRecipe(
        name,
        str(weights),
        whole.input_size if size is None and whole is not None else size,
        dict(network_options or {}),
        class_names if isinstance(class_names, tuple) else None,
        weights_seed=weights_seed if weights == "none" else None,
        preprocessing=whole,
    )
    with _random_weights_of(recipe.weights_seed):
        recipe, loaded, notices = _load(recipe)
    recipe = dataclasses.replace(recipe, image_size=size)
    used = _preprocessing(recipe, loaded, preprocessing)
    loaded.network.requires_grad_(False).eval()
    if device is not None:
        _move(loaded.network, device)
    said = outputs if outputs is not None else loaded.outputs
    return Classifier(
        loaded.network,
        preprocessing=used,
        class_names=class_names if class_names is not None else loaded.class_names,
        taps=taps if taps is not None else loaded.taps,
        outputs=said,
        name=name,
        recipe=dataclasses.replace(
            recipe,
            outputs=said_outputs(said)[0].kind,
            preprocessing=used if preprocessing is not None else None,
        ),
        outputs_reason=loaded.outputs_reason if outputs is None else None,
        notices=notices,
        examined=loaded.examined,
    )


def _found_from_everywhere(name: str) -> str:
    """The name with whole paths, since a saved explainer must find its network again."""
    source, _, place = name.partition("/")
    if name.startswith((timm_folders.ON_THE_HUB, timm_folders.ON_DISK)):
        return _found_from_everywhere(f"timm/{name}")
    if source == "hf" and os.path.isdir(os.path.expanduser(place)):
        return f"hf/{Path(place).expanduser().absolute()}"
    if source == "timm" and place.startswith(timm_folders.ON_DISK):
        folder = Path(place.removeprefix(timm_folders.ON_DISK)).expanduser().absolute()
        return f"timm/{timm_folders.ON_DISK}{folder}"
    if source not in SOURCES and python_callables.is_place(name):
        return python_callables.with_absolute_path(name)
    return name


def _load(recipe: ClassifierRecipe) -> tuple[ClassifierRecipe, LoadedNetwork, tuple[str, ...]]:
    """Build the network, and load its weights if they come from a file.

    Returns:
        The recipe with the number of classes of the file, what was loaded, and what the user
        should know of it.
    """
    source = _find_source(recipe.name)
    if recipe.weights in ("default", "none"):
        return recipe, source.load(recipe), ()
    return load_with_file(source, recipe)


def _whole(
    said: Preprocessing | PreprocessingChanges | None, size: tuple[int, int] | None
) -> Preprocessing | None:
    """A preprocessing for a network that has none of its own, if enough was said for one."""
    return said.complete(size) if isinstance(said, PreprocessingChanges) else said


def _preprocessing(
    recipe: ClassifierRecipe,
    loaded: LoadedNetwork,
    said: Preprocessing | PreprocessingChanges | None,
) -> Preprocessing:
    """The preprocessing that somebody said, or the library's own with what was changed."""
    if isinstance(said, Preprocessing):
        return with_image_size(said, recipe.image_size)
    if loaded.preprocessing is None and recipe.preprocessing is not None:
        return recipe.preprocessing
    own = said_preprocessing(recipe.name, loaded)
    return own if said is None else said.applied_to(own)


@gives_everything_back
def load_described_classifier(
    recipe: ClassifierRecipe,
    *,
    taps: Sequence[str] | None,
    weights: Path | str | None = None,
    device: torch.device | str | None = None,
) -> Classifier:
    """Load a classifier as a file describes it, which may come from a stranger.

    Args:
        recipe: as it was read.
        taps: layer names; chosen automatically if not given.
        weights: the weights of the user, in place of those of the recipe.
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
        recipe.weights if weights is None else weights,
        image_size=recipe.image_size,
        preprocessing=recipe.preprocessing,
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
            remedy=f"{setting('device', 'cpu')}, or leave it out",
        ) from problem


_OF_TEXTS = ("minilm_reviews",)
"""Bundled classifiers that this does not load."""


def _find_source(name: str) -> NetworkSource:
    if name in bundled.BUNDLED:
        return _BUNDLED
    if name in _OF_TEXTS:
        raise classifies_texts(name)
    source, slash, rest = name.partition("/")
    if slash and rest and source in SOURCES:
        return SOURCES[source]
    if python_callables.is_place(name):
        return _PYTHON
    if slash and source not in SOURCES and near_matches(source, SOURCES):
        raise UnknownNameError.of("source of networks", source, SOURCES)
    near = near_matches(name, bundled.BUNDLED)
    if slash and rest:
        near.append(f"hf/{name}")
    if not slash and name:
        for prefix, known in SOURCES.items():
            near += [f"{prefix}/{found}" for found in near_matches(name, known.names(), 2)]
    raise UnknownNameError(
        f"unknown classifier {name!r}",
        allowed="torchvision/NAME, timm/NAME, hf/REPO_OR_FOLDER, module:callable, "
        f"file.py:callable, {', '.join(bundled.BUNDLED)}",
        remedy=" or ".join(dict.fromkeys(near)),
    )
