"""Networks of timm (PyTorch Image Models)."""

from __future__ import annotations

import contextlib
import functools
import math
import warnings
from typing import Any

from torch import nn

from ttame.classifiers.classifier import ClassifierRecipe
from ttame.classifiers.sources.connection import hub_without_retries
from ttame.classifiers.sources.network_source import (
    LoadedNetwork,
    imagenet_class_names,
    with_image_size,
)
from ttame.errors import ClassifierError, UnknownNameError, WeightsError
from ttame.images.preprocessing import Preprocessing
from ttame.networks.network_trace import first_line


@functools.cache
def names() -> tuple[str, ...]:
    """All networks of timm, without the tags of their weights."""
    import timm

    return tuple(timm.list_models())


def load_network(recipe: ClassifierRecipe) -> LoadedNetwork:
    """Build a timm network; with weights ``"default"`` download its default ones.

    Args:
        recipe: its name may carry a tag after a dot, ``timm/resnet50.a1_in1k``.

    Raises:
        UnknownNameError: no such network.
        WeightsError: the weights cannot be downloaded.
        ClassifierError: timm refuses an option, or it names a file that may be a pickle.
    """
    _refuse_pickles(recipe)
    name = recipe.name.partition("/")[2]
    if name.partition(".")[0] not in names():
        bare = name.partition(".")[0]
        raise UnknownNameError.of("timm network", bare, names())
    network = _build(name, recipe)
    preprocessing = _preprocessing(network)
    if recipe.image_size:
        preprocessing = with_image_size(preprocessing, recipe.image_size)
    return LoadedNetwork(network, preprocessing, _class_names(network))


def _refuse_pickles(recipe: ClassifierRecipe) -> None:
    """Refuse options that open checkpoints, which some versions of timm unpickle freely."""
    for option in ("checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay"):
        if recipe.network_options.get(option) is not None:
            raise ClassifierError(
                f"network option {option} of {recipe.name}, which may open a pickle",
                allowed="weights from timm itself, or a .safetensors file",
                remedy="weights=FILE (--weights FILE)",
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
                remedy='a connection, weights="none", or weights=PATH to a .safetensors file',
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


def _preprocessing(network: nn.Module) -> Preprocessing:
    from timm.data import resolve_model_data_config

    config = resolve_model_data_config(network)
    height, width = config["input_size"][-2:]
    scaled = (math.floor(height / config["crop_pct"]), math.floor(width / config["crop_pct"]))
    keeps_aspect = config["crop_mode"] != "squash" and height == width
    interpolation = config["interpolation"]
    return Preprocessing(
        input_size=(height, width),
        resize=scaled[0] if keeps_aspect else scaled,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation="bilinear" if interpolation == "random" else interpolation,
    )


def _class_names(network: nn.Module) -> tuple[str, ...] | None:
    from timm.data import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset(network)
    if subset == "imagenet-1k":
        return imagenet_class_names()
    if subset is None:
        return None
    info = ImageNetInfo(subset)
    return tuple(info.index_to_description(index) for index in range(info.num_classes()))
