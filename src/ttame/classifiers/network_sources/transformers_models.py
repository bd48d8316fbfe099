"""Image classifiers of Hugging Face transformers, from the hub or from a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ttame.classifiers.classifier import ClassifierRecipe
from ttame.classifiers.network_sources.network_source import LoadedNetwork, with_image_size
from ttame.errors import ClassifierError, MissingExtraError, WeightsError
from ttame.preprocessing import Interpolation, Preprocessing

_PIL_FILTER_NAMES: dict[int, Interpolation] = {
    0: "nearest",
    1: "lanczos",
    2: "bilinear",
    3: "bicubic",
}


def load_network(recipe: ClassifierRecipe) -> LoadedNetwork:
    """Load a transformers image classifier; its weights only from safetensors.

    Args:
        recipe: ``hf/REPO`` for one on the hub, ``hf/FOLDER`` for one on disk. With weights
            ``"none"`` only the configuration is read. ``network_options`` change configuration
            entries.

    Raises:
        MissingExtraError: transformers is not installed.
        WeightsError: no such repository or folder, no connection, or no safetensors.
        ClassifierError: the repository holds no image classifier.
    """
    try:
        from transformers import AutoConfig, AutoModelForImageClassification
    except ImportError as problem:
        raise MissingExtraError.of("transformers", "transformers", "hf/ networks") from problem
    place = recipe.name.partition("/")[2]
    _refuse_missing_folder(place)
    options = dict(recipe.network_options)
    if recipe.image_size:
        height, width = recipe.image_size
        options.setdefault("image_size", height if height == width else [height, width])
    try:
        config = AutoConfig.from_pretrained(place, **options)
        if recipe.weights == "default":
            network = AutoModelForImageClassification.from_pretrained(
                place, config=config, use_safetensors=True
            )
        else:
            network = AutoModelForImageClassification.from_config(config)
    except OSError as problem:
        raise WeightsError(
            f"{recipe.name} cannot be loaded ({_first_line(problem)})",
            allowed="a folder with config.json and model.safetensors, or a hub repository",
            remedy="a connection, or the path of a downloaded copy",
        ) from problem
    except (ValueError, KeyError, TypeError, RuntimeError) as problem:
        raise ClassifierError(
            f"{recipe.name} is no image classifier ({_first_line(problem)})",
            allowed="what AutoModelForImageClassification accepts",
        ) from problem
    preprocessing = with_image_size(_preprocessing(place, config), recipe.image_size)
    names = tuple(str(config.id2label[index]) for index in range(config.num_labels))
    generic = all(name == f"LABEL_{index}" for index, name in enumerate(names))
    return LoadedNetwork(network, preprocessing, None if generic else names)


def _refuse_missing_folder(place: str) -> None:
    """A path that does not exist must not be looked up on the hub."""
    looks_like_a_path = place.startswith((".", "/", "~")) or place.count("/") > 1
    if looks_like_a_path and not Path(place).expanduser().is_dir():
        raise WeightsError(
            f"folder {place} does not exist", allowed="hf/FOLDER with a config.json inside"
        )


def _preprocessing(place: str, config: Any) -> Preprocessing:
    """Read the image processor's settings; without one, the size of the configuration."""
    from transformers import AutoImageProcessor

    try:
        processor = AutoImageProcessor.from_pretrained(place)
    except (OSError, ValueError, ImportError):
        size = getattr(config, "image_size", 224)
        height, width = (size, size) if isinstance(size, int) else tuple(size)
        return Preprocessing((height, width), (height, width), (0.5,) * 3, (0.5,) * 3)
    crop = _height_and_width(getattr(processor, "crop_size", None))
    size = getattr(processor, "size", None)
    resize: int | tuple[int, int] | None = _height_and_width(size)
    if resize is None and size is not None and size["shortest_edge"]:
        resize = int(size["shortest_edge"])
    if not getattr(processor, "do_center_crop", False):
        crop = None
    crop_share = getattr(processor, "crop_pct", None)
    if crop is None and isinstance(resize, int):
        # ConvNeXt's way: the "shortest edge" is the crop, and crop_pct what is resized to.
        crop = (resize, resize)
        resize = int(resize / crop_share) if crop_share and resize < 384 else crop
    crop = crop or (resize if isinstance(resize, tuple) else (224, 224))
    normalises = getattr(processor, "do_normalize", True)
    mean = processor.image_mean if normalises else (0.0, 0.0, 0.0)
    std = processor.image_std if normalises else (1.0, 1.0, 1.0)
    return Preprocessing(
        input_size=crop,
        resize=resize or crop,
        mean=(mean[0], mean[1], mean[2]),
        std=(std[0], std[1], std[2]),
        interpolation=_PIL_FILTER_NAMES.get(int(getattr(processor, "resample", 2) or 2), "bilinear"),
    )


def _height_and_width(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    try:
        height, width = size["height"], size["width"]
    except (KeyError, TypeError):
        return None
    return (int(height), int(width)) if height and width else None


def _first_line(problem: Exception) -> str:
    return (str(problem).splitlines() or [type(problem).__name__])[0]
