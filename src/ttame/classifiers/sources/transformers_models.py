"""Image classifiers of Hugging Face transformers, from the hub or from a folder."""

from __future__ import annotations

import contextlib
import os
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from ttame.classifiers.classifier import ClassifierRecipe
from ttame.classifiers.sources.connection import hub_without_retries
from ttame.classifiers.sources.foreign_configuration import (
    refuse_code,
    refuse_huge_pictures,
)
from ttame.classifiers.sources.network_source import LoadedNetwork, with_image_size
from ttame.errors import ClassifierError, MissingExtraError, WeightsError
from ttame.images.preprocessing import Interpolation, Preprocessing
from ttame.memory_limit import ran_out_of_memory
from ttame.networks.network_trace import first_line
from ttame.signal_handlers import raised_by_signal_handler

_PIL_FILTER_NAMES: dict[int, Interpolation] = {
    0: "nearest",
    1: "lanczos",
    2: "bilinear",
    3: "bicubic",
}


_FOLDER = "a folder with config.json and model.safetensors"
_PROCESSOR = "preprocessor_config.json"
_LONGEST_REASON = 200
"""Characters; transformers lists all the names that it knows."""


def load_network(recipe: ClassifierRecipe) -> LoadedNetwork:
    """Load a transformers image classifier; its weights only from safetensors.

    Python code that a repository brings runs only with ``trust_remote_code`` among the options;
    without it, a configuration that asks for code, or for kernels from the hub, is refused.

    Args:
        recipe: ``hf/REPO`` for one on the hub, ``hf/FOLDER`` for one on disk. With weights
            ``"none"`` only the configuration is read. ``network_options`` change configuration
            entries.

    Raises:
        MissingExtraError: transformers is not installed.
        WeightsError: no such repository or folder, no connection, or no safetensors.
        ClassifierError: the repository holds no image classifier, or does not say how pixels are
            normalised for its weights.
    """
    try:
        import transformers  # noqa: F401
    except ImportError as problem:
        raise MissingExtraError.of("transformers", "transformers", "hf/ networks") from problem
    place = _existing_place(recipe.name.partition("/")[2])
    if os.path.isdir(place):
        if not (Path(place) / "config.json").is_file():
            raise WeightsError(f"folder {place} holds no config.json", allowed=_FOLDER)
        return _load(place, recipe, "")
    with hub_without_retries() as reachable:
        return _load(place, recipe, "" if reachable else "no connection to the hub; ")


def _load(place: str, recipe: ClassifierRecipe, connection: str) -> LoadedNetwork:
    with _in_our_words(recipe, connection):
        config = _config(place, recipe)
    # Before the weights, which may take long to come.
    preprocessing, channels_reversed = _preprocessing(place, config, recipe)
    with _in_our_words(recipe, connection):
        network = _network(place, config, recipe)
    if channels_reversed:
        network.register_forward_pre_hook(_reverse_channels)
    return LoadedNetwork(
        network, with_image_size(preprocessing, recipe.image_size), _class_names(config)
    )


@contextlib.contextmanager
def _in_our_words(recipe: ClassifierRecipe, connection: str) -> Iterator[None]:
    try:
        yield
    except ClassifierError:
        raise
    except Exception as problem:  # configurations of other tasks fail in many ways
        if ran_out_of_memory(problem) or raised_by_signal_handler(problem):
            raise
        raise _not_loaded(recipe, connection, problem) from problem


def _not_loaded(recipe: ClassifierRecipe, connection: str, problem: Exception) -> ClassifierError:
    if isinstance(problem, OSError):
        return WeightsError(
            f"{recipe.name} cannot be loaded ({connection}{first_line(problem)})",
            allowed=f"{_FOLDER}, or a hub repository",
            remedy="a connection, or the path of a downloaded copy",
        )
    return ClassifierError(
        f"{recipe.name} is no image classifier ({first_line(problem)})",
        allowed="what AutoModelForImageClassification accepts",
    )


def _class_names(config: Any) -> tuple[str, ...] | None:
    """The names in the configuration, unless it only has LABEL_0, LABEL_1 ..."""
    by_index = config.id2label or {}
    names = tuple(str(by_index[index]) for index in sorted(by_index, key=int))
    generic = all(name == f"LABEL_{index}" for index, name in enumerate(names))
    return None if generic or len(names) != config.num_labels else names


def _existing_place(place: str) -> str:
    """The folder, with ``~`` resolved, or the repository; a missing path is no repository."""
    looks_like_a_path = place.startswith((".", "/", "~")) or place.count("/") > 1
    if not looks_like_a_path:
        return place
    folder = Path(place).expanduser()
    if not os.path.isdir(folder):
        raise WeightsError(
            f"folder {place} does not exist", allowed="hf/FOLDER with a config.json inside"
        )
    return str(folder)


def _config(place: str, recipe: ClassifierRecipe) -> Any:
    from transformers import AutoConfig, PretrainedConfig

    options = dict(recipe.network_options)
    trust = options["trust_remote_code"] = _is_trusted(recipe)
    if not trust:
        described, _ = PretrainedConfig.get_config_dict(place)
        refuse_code(described, recipe.name)
    config = AutoConfig.from_pretrained(place, **options)
    if recipe.image_size is not None and "image_size" not in options:
        height, width = recipe.image_size
        if isinstance(getattr(config, "image_size", None), list | tuple) or height != width:
            config.image_size = [height, width]
        elif hasattr(config, "image_size"):
            config.image_size = height
    if config.architectures is None:
        # Some configurations have several classifiers; without a choice the first one is taken.
        config.architectures = []
    return config


def _is_trusted(recipe: ClassifierRecipe) -> bool:
    """Whether code of the repository may run; never left to transformers, which would ask."""
    trust = recipe.network_options.get("trust_remote_code", False)
    if not isinstance(trust, bool):
        raise ClassifierError(
            f"network option trust_remote_code={trust!r}", allowed="true or false"
        )
    return trust


def _network(place: str, config: Any, recipe: ClassifierRecipe) -> nn.Module:
    from transformers import AutoModelForImageClassification

    network: nn.Module
    trust = _is_trusted(recipe)
    if recipe.weights == "default":
        network = AutoModelForImageClassification.from_pretrained(
            place, config=config, use_safetensors=True, trust_remote_code=trust
        )
    else:
        network = AutoModelForImageClassification.from_config(config, trust_remote_code=trust)
    return network


def _preprocessing(place: str, config: Any, recipe: ClassifierRecipe) -> tuple[Preprocessing, bool]:
    """The image processor's preprocessing, and whether it reverses the channels to BGR.

    Random weights expect nothing of pixels: without a processor they get a mean and deviation of
    0.5 at the size of the configuration.
    """
    from transformers import AutoImageProcessor

    try:
        processor = AutoImageProcessor.from_pretrained(place, trust_remote_code=_is_trusted(recipe))
        refuse_huge_pictures(processor.to_dict(), recipe.name)
        black, red, white = (_process(processor, colour) for colour in ("black", "red", "white"))
    except ClassifierError:
        raise
    except Exception as problem:  # no processor, or one for another kind of input
        if ran_out_of_memory(problem) or raised_by_signal_handler(problem):
            raise
        if recipe.weights != "none":
            raise _no_normalisation(place, recipe, problem) from problem
        own_size = _configured_size(config)
        return Preprocessing(own_size, own_size, (0.5,) * 3, (0.5,) * 3), False
    # Rescaling, offsets and normalisation together are one straight line per channel.
    middle = (0, slice(None), black.shape[2] // 2, black.shape[3] // 2)
    at_black, at_white = black[middle].double(), white[middle].double()
    std = 1 / (at_white - at_black)
    mean = -at_black * std
    channels_reversed = int((red[middle].double() - at_black).abs().argmax()) == 2
    if channels_reversed:
        mean, std = mean.flip(0), std.flip(0)
    input_size = (int(black.shape[2]), int(black.shape[3]))
    if not getattr(processor, "do_resize", True):
        input_size = _configured_size(config)
    preprocessing = Preprocessing(
        input_size=input_size,
        resize=_resize(processor, input_size),
        mean=_three(mean),
        std=_three(std),
        interpolation=_interpolation(processor),
    )
    return preprocessing, channels_reversed


def _no_normalisation(place: str, recipe: ClassifierRecipe, problem: Exception) -> ClassifierError:
    """Whether the image processor is missing or cannot be used, and what would help."""
    said = first_line(problem)
    file = Path(place) / _PROCESSOR
    missing = not file.is_file() if Path(place).is_dir() else _PROCESSOR in str(problem)
    what = f"it has no {_PROCESSOR}" if missing else f"its image processor cannot be used: {said}"
    what = textwrap.shorten(what, _LONGEST_REASON, placeholder=" ...")
    return ClassifierError(
        f"{recipe.name} does not say how its pixels are normalised ({what})",
        allowed=f"a {_PROCESSOR} beside config.json that AutoImageProcessor reads",
        remedy="the image processor's save_pretrained(FOLDER), or in Python "
        "ttame.Classifier(network, preprocessing=...)",
    )


def _configured_size(config: Any) -> tuple[int, int]:
    size = getattr(config, "image_size", None) or 224
    return (size, size) if isinstance(size, int) else (size[0], size[-1])


def _process(processor: Any, colour: str) -> Tensor:
    """What the processor makes of a plain image, (1, 3, H, W)."""
    photo = Image.new("RGB", (640, 640), colour)
    pixels: Tensor = processor(images=photo, return_tensors="pt")["pixel_values"]
    if pixels.ndim != 4 or pixels.shape[1] != 3:
        raise ClassifierError(f"an image processor that returns shape {tuple(pixels.shape)}")
    return pixels.to(torch.float32)


def _resize(processor: Any, input_size: tuple[int, int]) -> int | tuple[int, int]:
    """What the photo is resized to before the centre crop."""
    size = getattr(processor, "size", None) or {}
    if not getattr(processor, "do_resize", True):
        return input_size
    height, width, edge = (_entry(size, name) for name in ("height", "width", "shortest_edge"))
    kind = type(processor).__name__.removesuffix("Fast").removesuffix("Pil")
    share = getattr(processor, "crop_pct", None)
    if kind.startswith("PoolFormer") and share and (edge or height == width):
        return int((edge or height) / share)
    if height and width:
        return (height, width)
    if not edge:
        return input_size
    if kind.startswith("Levit"):
        return int(256 / 224 * edge)
    if share:
        # ConvNeXt's way: the "shortest edge" is the crop, and large crops are warped instead.
        return int(edge / share) if edge < 384 else input_size
    return edge


def _entry(size: Any, name: str) -> int:
    value = size.get(name) if isinstance(size, dict) else getattr(size, name, None)
    return int(value or 0)


def _interpolation(processor: Any) -> Interpolation:
    resample = getattr(processor, "resample", None)
    return _PIL_FILTER_NAMES.get(2 if resample is None else int(resample), "bilinear")


def _three(values: Tensor) -> tuple[float, float, float]:
    # Six digits undo the float32 of the processor: 0.485 stays 0.485.
    red, green, blue = (round(value, 6) + 0.0 for value in values.tolist())
    return red, green, blue


def _reverse_channels(_network: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (inputs[0].flip(1), *inputs[1:])
