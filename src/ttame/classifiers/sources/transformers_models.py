"""Image classifiers of Hugging Face transformers, from the hub or from a folder."""

from __future__ import annotations

import contextlib
import os
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ttame.classifiers.classifier_recipe import ClassifierRecipe
from ttame.classifiers.recipe_rules import refuse_huge_pictures
from ttame.classifiers.sources import timm_folders, timm_models
from ttame.classifiers.sources.connection import hub_without_retries
from ttame.classifiers.sources.foreign_configuration import refuse_code
from ttame.classifiers.sources.network_source import (
    LoadedNetwork,
    NetworkSource,
    classifies_texts,
    with_image_size,
)
from ttame.classifiers.sources.quiet_loading import loading_quietly
from ttame.errors import (
    SAYING_PREPROCESSING,
    ClassifierError,
    MissingExtraError,
    WeightsError,
    setting,
)
from ttame.images.library_transforms import processor_fields
from ttame.images.preprocessing import Preprocessing
from ttame.memory_limit import ran_out_of_memory
from ttame.networks.network_trace import first_line
from ttame.signal_handlers import raised_by_signal_handler

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
    place = _existing_place(recipe.name.partition("/")[2])
    on_disk = os.path.isdir(place)
    if on_disk and timm_folders.is_timm_folder(Path(place)):
        return timm_models.load_folder(Path(place), recipe)
    try:
        import transformers  # noqa: F401
    except ImportError as problem:
        raise MissingExtraError.of("transformers", "transformers", "hf/ networks") from problem
    if on_disk:
        if not (Path(place) / "config.json").is_file():
            raise WeightsError(f"folder {place} holds no config.json", allowed=_FOLDER)
        return _load(place, recipe, "")
    with hub_without_retries() as reachable:
        return _load(place, recipe, "" if reachable else "no connection to the hub; ")


def _load(place: str, recipe: ClassifierRecipe, connection: str) -> LoadedNetwork:
    with _in_our_words(recipe, connection):
        config = _config(place, recipe)
    _refuse_texts(config, recipe.name)
    # Before the weights, which may take long to come.
    preprocessing, channels_reversed = _preprocessing(place, config, recipe)
    with _in_our_words(recipe, connection), loading_quietly():
        network = _network(place, config, recipe)
    if channels_reversed:
        network.register_forward_pre_hook(_reverse_channels)
    outputs, reason = _outputs(config, recipe)
    return LoadedNetwork(
        network,
        with_image_size(preprocessing, recipe.image_size),
        _class_names(config),
        outputs,
        reason,
    )


def _outputs(config: Any, recipe: ClassifierRecipe) -> tuple[str | None, str]:
    """What the configuration says of the outputs, and where it says it."""
    kind = getattr(config, "problem_type", None)
    if kind == "regression":
        raise ClassifierError(
            f"{recipe.name} is a regression (problem_type in its configuration): its outputs are "
            "measured values, not scores of classes",
            allowed="a classifier",
            remedy=setting("network_options", {"problem_type": "single_label_classification"})
            + ", if it was written there by mistake",
        )
    if kind == "multi_label_classification":
        return "sigmoid", f"problem_type in its configuration is {kind}"
    if kind == "single_label_classification":
        return "softmax", f"problem_type in its configuration is {kind}"
    return None, ""


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
        f"{recipe.name} is not an image classifier ({first_line(problem)})",
        allowed="what AutoModelForImageClassification accepts",
    )


def _class_names(config: Any) -> tuple[str, ...] | None:
    """The names in the configuration, unless it only has LABEL_0, LABEL_1 ..."""
    by_index = config.id2label or {}
    names = tuple(str(by_index[index]) for index in sorted(by_index, key=int))
    generic = all(name == f"LABEL_{index}" for index, name in enumerate(names))
    return None if generic or len(names) != config.num_labels else names


def _existing_place(place: str) -> str:
    """The folder, with ``~`` resolved, or the repository; a missing path is not a repository."""
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


def _refuse_texts(config: Any, name: str) -> None:
    if any(each.endswith("ForSequenceClassification") for each in config.architectures):
        raise classifies_texts(name)


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
        fields, channels_reversed = processor_fields(processor)
    except ClassifierError:
        raise
    except Exception as problem:  # no processor, or one for another kind of input
        if ran_out_of_memory(problem) or raised_by_signal_handler(problem):
            raise
        if recipe.preprocessing is not None:
            return recipe.preprocessing, False
        if recipe.weights != "none":
            raise _no_normalisation(place, recipe, problem) from problem
        own_size = _configured_size(config)
        return Preprocessing(own_size, own_size, (0.5,) * 3, (0.5,) * 3), False
    if fields["input_size"] is None:
        fields["input_size"] = fields["resize"] = _configured_size(config)
    return Preprocessing(**fields), channels_reversed


def _no_normalisation(place: str, recipe: ClassifierRecipe, problem: Exception) -> ClassifierError:
    """Whether the image processor is missing or cannot be used, and what would help."""
    said = first_line(problem)
    file = Path(place) / _PROCESSOR
    missing = not file.is_file() if Path(place).is_dir() else _PROCESSOR in str(problem)
    what = f"it has no {_PROCESSOR}" if missing else f"its image processor cannot be used: {said}"
    what = textwrap.shorten(what, _LONGEST_REASON, placeholder=" ...")
    return ClassifierError(
        f"{recipe.name} does not say how its pixels are normalised ({what})",
        allowed=f"a {_PROCESSOR} next to config.json that AutoImageProcessor reads",
        remedy=f"the image processor's save_pretrained(FOLDER), or {SAYING_PREPROCESSING}",
    )


def _configured_size(config: Any) -> tuple[int, int]:
    size = getattr(config, "image_size", None) or 224
    return (size, size) if isinstance(size, int) else (size[0], size[-1])


def _reverse_channels(_network: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (inputs[0].flip(1), *inputs[1:])


SOURCE = NetworkSource(load_network, "num_labels")
