"""A classifier's recipe as the options of the command line that say the same."""

from __future__ import annotations

import json
import shlex

from ttame.classifiers.classifier_recipe import ClassifierRecipe
from ttame.images.preprocessing import Preprocessing
from ttame.outputs import SOFTMAX

_LONGEST = 300
"""Characters; a stranger's file may say more."""


def typed_again(recipe: ClassifierRecipe) -> str:
    """What to type to ask for a classifier, quoted for the shell.

    Example:
        >>> recipe = ClassifierRecipe("net.py:build", "m.pth", network_options={"classes": 2})
        >>> typed_again(recipe)
        '--model net.py:build --weights m.pth --network-option classes=2'
    """
    typed = shlex.join(typed_words(recipe))
    return typed if len(typed) <= _LONGEST else "--model NAME --network-option NAME=VALUE ..."


def typed_words(recipe: ClassifierRecipe) -> list[str]:
    """The words behind a command that load the same classifier, but for its class names.

    Example:
        >>> typed_words(ClassifierRecipe("timm/resnet18", outputs="sigmoid"))
        ['--model', 'timm/resnet18', '--outputs', 'sigmoid']
    """
    parts = ["--model", recipe.name]
    if recipe.weights != "default":
        parts += ["--weights", recipe.weights]
    for name, value in recipe.network_options.items():
        parts += ["--network-option", f"{name}={json.dumps(value, default=str)}"]
    if recipe.image_size is not None:
        parts += ["--image-size", "x".join(map(str, recipe.image_size))]
    if recipe.preprocessing is not None:
        parts += _typed_preprocessing(recipe.preprocessing, sized=recipe.image_size is not None)
    if recipe.outputs != SOFTMAX.kind:
        parts += ["--outputs", recipe.outputs.replace(" ", "-")]
    return parts


def _typed_preprocessing(preprocessing: Preprocessing, *, sized: bool) -> list[str]:
    resize = preprocessing.resize
    written = "x".join(map(str, resize)) if isinstance(resize, tuple) else str(resize)
    size = [] if sized else ["--image-size", "x".join(map(str, preprocessing.input_size))]
    colours: list[str] = []
    if preprocessing.channels != "rgb":
        colours = ["--channels", str(preprocessing.channels)]
    if preprocessing.band_scale is not None:
        colours += ["--band-scale", f"{preprocessing.band_scale:g}"]
    if preprocessing.display_bands is not None:
        colours += ["--display-bands", ",".join(map(str, preprocessing.display_bands))]
    return [
        *size,
        *colours,
        *("--mean", ",".join(f"{value:g}" for value in preprocessing.mean)),
        *("--std", ",".join(f"{value:g}" for value in preprocessing.std)),
        *("--interpolation", preprocessing.interpolation, "--resize", written),
    ]
