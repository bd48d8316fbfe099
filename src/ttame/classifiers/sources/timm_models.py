"""Networks of timm (PyTorch Image Models)."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ttame.classifiers.classifier_recipe import ClassifierRecipe
from ttame.classifiers.recipe_rules import check_timm_configuration
from ttame.classifiers.sources import timm_folders
from ttame.classifiers.sources.connection import hub_without_retries
from ttame.classifiers.sources.network_source import (
    LoadedNetwork,
    NetworkSource,
    imagenet_class_names,
    with_image_size,
)
from ttame.errors import (
    OTHER_WEIGHTS,
    ClassifierError,
    UnknownNameError,
    WeightsError,
    either,
)
from ttame.images.preprocessing import Preprocessing
from ttame.networks.network_trace import first_line
from ttame.networks.weights_files import load_weights, read_network_weights
from ttame.networks.weights_fit import without_prefixes


@functools.cache
def names() -> tuple[str, ...]:
    """All networks of timm, without the tags of their weights."""
    import timm

    return tuple(timm.list_models())


def load_network(recipe: ClassifierRecipe) -> LoadedNetwork:
    """Build a timm network; with weights ``"default"`` download its default ones.

    Args:
        recipe: its name may carry a tag after a dot, ``timm/resnet50.a1_in1k``, or be a place,
            ``timm/hf-hub:REPOSITORY`` or ``timm/local-dir:FOLDER``.

    Raises:
        UnknownNameError: no such network.
        WeightsError: the weights cannot be downloaded.
        ClassifierError: timm refuses an option, or it names a file that may be a pickle.
    """
    _refuse_pickles(recipe)
    name = recipe.name.partition("/")[2]
    if timm_folders.is_place(name):
        return _load_place(name, recipe)
    if name.partition(".")[0] not in names():
        bare = name.partition(".")[0]
        raise UnknownNameError.of("timm network", bare, names())
    return _as_loaded(_build(name, recipe), recipe)


def _as_loaded(network: nn.Module, recipe: ClassifierRecipe) -> LoadedNetwork:
    preprocessing = with_image_size(_preprocessing(network), recipe.image_size)
    return LoadedNetwork(network, preprocessing, _class_names(network))


def load_folder(folder: Path, recipe: ClassifierRecipe) -> LoadedNetwork:
    """Load the network of a folder that timm's ``save_for_hf`` wrote.

    Raises:
        WeightsError: the weights are missing, or do not fit the network.
        ClassifierError: its configuration asks for more than plain options.
    """
    return _load_place(f"{timm_folders.ON_DISK}{folder}", recipe)


def _load_place(name: str, recipe: ClassifierRecipe) -> LoadedNetwork:
    """A network whose configuration somebody wrote: it may say what a recipe from a file may."""
    own = recipe.weights == "default"
    found = timm_folders.open_place(name, with_weights=own)
    check_timm_configuration(found.described, recipe.name, names())
    # timm reads nothing but the configuration; the weights are read here, as any others are.
    without = dataclasses.replace(recipe, weights="none")
    network = _build(f"{timm_folders.ON_DISK}{found.folder}", without)
    if own and found.weights is not None:
        weights = read_network_weights(found.weights).tensors
        load_weights(network, without_prefixes(weights, network), f"{found.weights}")
    loaded = _as_loaded(network, recipe)
    return dataclasses.replace(loaded, class_names=_label_names(found.described, network))


def _label_names(described: Mapping[str, Any], network: nn.Module) -> tuple[str, ...] | None:
    """The names in the configuration, if there is one for each class."""
    inside = described.get("pretrained_cfg")
    held = described.get("label_names") or (
        inside.get("label_names") if isinstance(inside, Mapping) else None
    )
    if not isinstance(held, list | tuple):
        return _class_names(network)
    named = tuple(str(name) for name in held)
    return named if len(named) == network.num_classes else None


def _refuse_pickles(recipe: ClassifierRecipe) -> None:
    """Refuse options that open checkpoints, which some versions of timm unpickle freely."""
    for option in ("checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay"):
        if recipe.network_options.get(option) is not None:
            raise ClassifierError(
                f"network option {option} of {recipe.name}, which may open a pickle",
                allowed="weights from timm itself, or a file of weights",
                remedy=either("weights=FILE", "--weights FILE"),
            )


def _build(name: str, recipe: ClassifierRecipe) -> nn.Module:
    options: dict[str, Any] = dict(recipe.network_options)
    pretrained = recipe.weights == "default"
    attempts = [options]
    if recipe.image_size and "img_size" not in options:
        # Networks with position embeddings must know the size; the others refuse the argument.
        attempts = [{**options, "img_size": recipe.image_size}, options]
    refusal: Exception | None = None
    for attempt in attempts:
        try:
            return _create(name, pretrained, attempt)
        except TypeError as problem:
            refusal = problem
        except (ValueError, AssertionError, AttributeError, LookupError) as problem:
            refusal = problem
            break
        except (OSError, RuntimeError) as problem:
            if not pretrained:
                refusal = problem
                break
            raise WeightsError(
                f"the weights of {recipe.name} cannot be loaded ({_reason(problem)})",
                remedy=OTHER_WEIGHTS,
            ) from problem
    assert refusal is not None
    raise ClassifierError(
        f"{recipe.name} refuses {attempts[-1] or 'its options'} ({first_line(refusal)})"
    ) from refusal


def _create(name: str, pretrained: bool, options: dict[str, Any]) -> nn.Module:
    import timm

    with warnings.catch_warnings(), contextlib.ExitStack() as stack:
        warnings.filterwarnings("ignore", message=".*(Overwriting|deprecated).*")
        if pretrained:
            stack.enter_context(hub_without_retries())
        network: nn.Module = timm.create_model(name, pretrained=pretrained, **options)
    return network


def _reason(problem: Exception) -> str:
    """Why weights cannot be loaded, in a few words where the hub would explain its own flags."""
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    if isinstance(problem, LocalEntryNotFoundError | OfflineModeIsEnabled):
        return "no connection to the Hugging Face hub, and they are not in its cache"
    return first_line(problem)


def configured_preprocessing(network: nn.Module) -> Preprocessing | None:
    """What a network that timm built says of its pixels; ``None`` for any other network."""
    return _preprocessing(network) if hasattr(network, "pretrained_cfg") else None


def configured_network(network: nn.Module) -> LoadedNetwork | None:
    """A network that timm built with what it says of itself; ``None`` for any other network."""
    preprocessing = configured_preprocessing(network)
    if preprocessing is None:
        return None
    return LoadedNetwork(network, preprocessing, _class_names(network))


def _preprocessing(network: nn.Module) -> Preprocessing:
    from timm.data import resolve_model_data_config

    return Preprocessing.from_timm(resolve_model_data_config(network))


def _class_names(network: nn.Module) -> tuple[str, ...] | None:
    from timm.data import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset(network)
    if subset == "imagenet-1k":
        return imagenet_class_names()
    if subset is None:
        return None
    info = ImageNetInfo(subset)
    return tuple(info.index_to_description(index) for index in range(info.num_classes()))


SOURCE = NetworkSource(load_network, "num_classes", names)
