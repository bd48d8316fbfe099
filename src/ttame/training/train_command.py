"""How a run and its settings are written down: as a command, or as a call."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ttame.classifiers.classifier import Classifier
from ttame.classifiers.classifier_recipe import ClassifierRecipe
from ttame.classifiers.features_from import taken_apart
from ttame.classifiers.typed_recipes import typed_words
from ttame.errors import TtameError
from ttame.explainers.trained.settings_part import changed, kinds_of, leaves_of, option
from ttame.features.tap_choice import NAMED
from ttame.files.printable_names import printable
from ttame.outputs import OwnOutputs
from ttame.training.training_settings import PRESETS, TrainingSettings


def command_of_run(
    classifier: Classifier, data: object, settings: TrainingSettings, folder: Path
) -> str:
    """The ``ttame train`` command of this run; or the call, where the network, the data or a
    setting came from Python and cannot be typed."""
    explained, other = taken_apart(classifier)
    recipe = explained.recipe
    places = _places(data)
    # There is no option for another seed of random weights.
    typed = recipe is not None and not recipe.weights_seed and recipe.outputs != OwnOutputs.kind
    features = _features_words(other)
    typed = typed and features is not None
    if recipe is None or not typed or not places or not can_be_typed(settings):
        return python_call(settings, "features_from=other" if other else "")
    words = typed_words(recipe)
    if recipe.class_names is not None:
        # Where the names were typed is not known; the explainer has them itself.
        words += ["--class-names", "FILE"]
    if explained.tap_choice.reason == NAMED and other is None:
        words += ["--taps", ",".join(str(tap) for tap in explained.taps)]
    words += features or []
    # A name that is not text would make the configuration unreadable.
    shown = [printable(place) for place in places]
    return train_command(settings, words, shown, printable(str(folder)))


def _features_words(other: Classifier | None) -> list[str] | None:
    """The words that name the network whose features are read; ``None`` if it has none."""
    if other is None:
        return []
    recipe = other.recipe
    if recipe is None or recipe.weights_seed:
        return None
    named = ClassifierRecipe(recipe.name, recipe.weights, weights_seed=recipe.weights_seed)
    if dataclasses.replace(recipe, outputs=named.outputs) != named:
        return None
    words = ["--features-from", recipe.name]
    if recipe.weights != "default":
        words += ["--features-weights", recipe.weights]
    return [*words, "--features-taps", ",".join(str(tap) for tap in other.taps)]


def data_names(data: object) -> tuple[str, ...]:
    """What the card calls the data: its places as typed, or the kind of object."""
    return _places(data) or (type(data).__name__,)


def _places(data: object) -> tuple[str, ...]:
    """The places of the data as typed; none if it is an object."""
    if isinstance(data, str | Path):
        return (str(data),)
    if isinstance(data, list | tuple) and all(isinstance(place, str | Path) for place in data):
        return tuple(str(place) for place in data)
    return ()


def train_command(
    settings: TrainingSettings, model: Sequence[str], data: Sequence[str], folder: str
) -> str:
    """The ``ttame train`` command that has these settings; for cards and messages.

    Args:
        settings: what differs from the preset is written out.
        model: the words that name the classifier.
        data: one or several places.
        folder: the output.

    Example:
        >>> settings = PRESETS["tame"].changed(epochs=2)
        >>> train_command(settings, ["--model", "timm/x"], ["photos"], "out")
        'ttame train --model timm/x --data photos --out out --preset tame --epochs 2'
    """
    words = ["ttame", "train", *model]
    for place in data:
        words += ["--data", place]
    words += ["--out", folder, "--preset", settings.preset]
    for name, value in _changes(settings).items():
        if isinstance(value, bool):
            words.append(f"--{'' if value else 'no-'}{option(name)}")
        else:
            words += [f"--{option(name)}", str(value)]
    return shlex.join(words)


def python_call(settings: TrainingSettings, further: str = "") -> str:
    """The call of :func:`ttame.train_explainer` that has these settings; for cards.

    Args:
        settings: what differs from the preset is written out.
        further: another argument.

    Example:
        >>> python_call(PRESETS["tame"])
        "ttame.train_explainer(classifier, data, folder, ttame.training_settings('tame'))"
    """
    changes = [f", {name}={value!r}" for name, value in _changes(settings).items()]
    made = f"ttame.training_settings({settings.preset!r}{''.join(changes)})"
    behind = f", {further}" if further else ""
    return f"ttame.train_explainer(classifier, data, folder, {made}{behind})"


def can_be_typed(settings: TrainingSettings) -> bool:
    """Whether a command has these settings: objectives and presets of one's own have no name."""
    try:
        made = PRESETS[settings.preset].changed(**_changes(settings))
    except (KeyError, TtameError):
        return False
    return dataclasses.replace(made, method=settings.method) == settings


def _changes(settings: TrainingSettings) -> dict[str, Any]:
    """What differs from the preset, once its parts are of the same kinds."""
    flat = settings.flat()
    start = PRESETS.get(settings.preset, TrainingSettings())
    named = {name for name, part, field in leaves_of(TrainingSettings) if kinds_of(part, field)}
    kinds = {
        name: flat[name]
        for name, kind in start.flat().items()
        if name in named and flat.get(name, kind) != kind
    }
    alike, _ = changed(start, kinds)
    same = alike.flat()
    return {
        name: value
        for name, value in flat.items()
        if name not in ("preset", "method") and (name in kinds or value != same.get(name))
    }
