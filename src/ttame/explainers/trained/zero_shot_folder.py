"""The zero-shot classifier of a saved explainer: all of it but the image tower is in the folder."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from ttame.classifiers.classifier import Classifier
from ttame.classifiers.zero_shot import image_tower_of
from ttame.errors import (
    ClassifierError,
    ExplainerError,
    ExplainerFolderError,
    WeightsError,
    kind_of,
)
from ttame.explainers.trained.explainer_config import CONFIG_FILE, TEXTS_FILE, ExplainerConfig
from ttame.images.preprocessing import Preprocessing
from ttame.networks.weights_files import read_shapes, read_weights
from ttame.networks.zero_shot_scores import ZeroShotScores


def zero_shot_of_folder(
    config: ExplainerConfig, folder: Path, image_tower: nn.Module
) -> Classifier:
    """Put the image tower to the texts again.

    Args:
        config: the config of the explainer.
        folder: that holds it.
        image_tower: the image tower of the user, or the whole model.

    Raises:
        ExplainerFolderError: the file of the texts is missing or broken.
        ExplainerError: the explainer is not one of a zero-shot classifier.
        ClassifierError: the image tower does not fit the texts.
    """
    saved = config.classifier
    if saved.texts is None:
        raise ExplainerError(
            f"an image tower for {folder}, which does not explain a zero-shot classifier",
            remedy="load_explainer(..., classifier=...)",
        )
    if not isinstance(image_tower, nn.Module):
        raise ClassifierError(f"{kind_of(image_tower)} as image tower", allowed="a torch.nn.Module")
    path = folder / TEXTS_FILE
    classes = config.head.number_of_classes
    try:
        shapes = read_shapes(path)
        width = shapes.get("weight", (0, 0))[-1]
        if shapes not in (
            {"weight": (classes, width)},
            {"weight": (classes, width), "bias": (classes,)},
        ):
            raise ExplainerFolderError(f"{path} does not fit its {CONFIG_FILE}")
        rows = read_weights(path)
    except WeightsError as problem:
        raise ExplainerFolderError(str(problem)) from problem
    return Classifier(
        ZeroShotScores.of_rows(image_tower_of(image_tower), rows),
        preprocessing=Preprocessing.from_json(saved.preprocessing),
        class_names=saved.texts or None,
        taps=saved.taps or None,
        outputs=saved.outputs,
        name=saved.name,
    )
