"""What a recipe that was read from a file may say: plain data, and nothing that runs or opens more.

A recipe that somebody types is theirs, and goes to the library as it is. One that stands in a file,
such as the ``config.json`` of an explainer, may come from a stranger. Libraries take options that
run code (``trust_remote_code``), open files and addresses (``checkpoint_path``,
``pretrained_cfg``), or replace parts of the network (``block``), and get new ones with each
version. So the rule is a short list of what is allowed, not of what is not.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from ttame.classifiers.classifier_recipe import ClassifierRecipe
from ttame.errors import ClassifierError
from ttame.images.network_channels import MOST_CHANNELS

MOST_CLASSES = 100_000
"""Of a network from a file: room for ImageNet-21k, but not for more memory than there is."""

LONGEST_SIDE = 4096
"""Pixels of the input of a network from a file."""

_WEIGHTS_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
"""All of them are read without running code; see :mod:`ttame.networks.torch_files`."""

_LONGEST_WORD = 60
"""Characters of a refused name that a message repeats."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_]+", re.ASCII)
_TIMM_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?")
_HUB_NAME = re.compile(r"[A-Za-z0-9_-][\w.-]*(/[A-Za-z0-9_-][\w.-]*)?", re.ASCII)


class ForbiddenRecipeError(ClassifierError):
    """A recipe from a file that says what only a person may say.

    Attributes:
        option: the network option that is at fault, or empty.
    """

    def __init__(self, problem: str, *, allowed: str, option: str = "") -> None:
        super().__init__(problem, allowed=allowed)
        self.option = option


@dataclasses.dataclass(frozen=True)
class OptionRule:
    """Which values of an option a file may give.

    Attributes:
        allowed: in words.
        accepts: whether a value, as JSON gave it, is one of them.
    """

    allowed: str
    accepts: Callable[[Any], bool]


def _is_whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _whole(least: int, most: int) -> OptionRule:
    return OptionRule(
        f"a whole number from {least} to {most}", lambda value: _is_whole(value, least, most)
    )


def _number(least: float, most: float) -> OptionRule:
    def accepts(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return least <= value <= most  # NaN is not

    return OptionRule(f"a number from {least:g} to {most:g}", accepts)


def _words(*words: str) -> OptionRule:
    return OptionRule(
        ", ".join(repr(word) for word in words),
        lambda value: isinstance(value, str) and value in words,
    )


def _is_side_or_sides(value: Any) -> bool:
    sides = value if isinstance(value, list | tuple) else [value, value]
    return len(sides) == 2 and all(_is_whole(side, 1, LONGEST_SIDE) for side in sides)


_CLASSES = _whole(1, MOST_CLASSES)
_CHANNELS = _whole(1, MOST_CHANNELS)
_SHARE = _number(0, 1)
_FLAG = OptionRule("true or false", lambda value: isinstance(value, bool))
_SIDES = OptionRule(f"one or two sides from 1 to {LONGEST_SIDE}", _is_side_or_sides)
_ACTIVATION = _words(
    *("relu", "relu6", "leaky_relu", "gelu", "gelu_new", "gelu_tanh", "quick_gelu", "silu"),
    *("swish", "mish", "hard_swish", "hard_sigmoid", "sigmoid", "tanh"),
)

TIMM_OPTIONS: Mapping[str, OptionRule] = {
    "num_classes": _CLASSES,
    "in_chans": _CHANNELS,
    "img_size": _SIDES,
    "drop_rate": _SHARE,
    "drop_path_rate": _SHARE,
    "attn_drop_rate": _SHARE,
    "proj_drop_rate": _SHARE,
    "global_pool": _words("avg", "max", "avgmax", "catavgmax", "token", "map"),
    "output_stride": _whole(8, 32),
    "act_layer": _ACTIVATION,
    "class_token": _FLAG,
    "qkv_bias": _FLAG,
    "dynamic_img_size": _FLAG,
}
"""Of timm. ``block``, ``norm_layer`` and their like take classes, not words."""

_TORCHVISION_OPTIONS: Mapping[str, OptionRule] = {
    "num_classes": _CLASSES,
    "image_size": _whole(1, LONGEST_SIDE),
    "dropout": _SHARE,
    "attention_dropout": _SHARE,
    "stochastic_depth_prob": _SHARE,
    "aux_logits": _FLAG,
    "init_weights": _FLAG,
    "transform_input": _FLAG,
}

_TRANSFORMERS_OPTIONS: Mapping[str, OptionRule] = {
    "num_labels": _CLASSES,
    "num_channels": _CHANNELS,
    "image_size": _SIDES,
    "hidden_act": _ACTIVATION,
    "hidden_dropout_prob": _SHARE,
    "attention_probs_dropout_prob": _SHARE,
    "drop_path_rate": _SHARE,
    "qkv_bias": _FLAG,
}
"""Entries of a configuration; whatever else ``from_pretrained`` takes is left out."""

_BUNDLED_OPTIONS: Mapping[str, Mapping[str, OptionRule]] = {
    "efficientnet_lite0": TIMM_OPTIONS,
    "hybrid_vit_lite0": {"num_classes": _CLASSES},
}

_OPTIONS: Mapping[str, Mapping[str, OptionRule]] = {
    "torchvision": _TORCHVISION_OPTIONS,
    "timm": TIMM_OPTIONS,
    "hf": _TRANSFORMERS_OPTIONS,
}


def refuse_forbidden(recipe: ClassifierRecipe) -> None:
    """Refuse a recipe from a file unless it is plain data.

    Names may be those of the libraries, of a hub repository or of an absolute folder; weights
    ``"default"``, ``"none"`` or the absolute path of a file of weights. Whether all that
    exists is for the loader to find out.

    Raises:
        ForbiddenRecipeError: anything else, or an option or value that is not on the list.

    Example:
        >>> refuse_forbidden(ClassifierRecipe("timm/resnet18", network_options={"num_classes": 2}))
        >>> options = {"checkpoint_path": "/tmp/x"}
        >>> try:
        ...     refuse_forbidden(ClassifierRecipe("timm/resnet18", network_options=options))
        ... except ForbiddenRecipeError as problem:
        ...     problem.problem
        "network option 'checkpoint_path'"
    """
    _check_name(recipe.name)
    _check_weights(recipe.weights)
    if recipe.image_size is not None and not _is_side_or_sides(recipe.image_size):
        raise ForbiddenRecipeError(
            f"image size {_brief(recipe.image_size)} of the classifier", allowed=_SIDES.allowed
        )
    if recipe.preprocessing is not None:
        sides = recipe.preprocessing.input_size + recipe.preprocessing.resized_sides()
        if max(sides) > LONGEST_SIDE:
            raise ForbiddenRecipeError(
                f"preprocessing with sides of {max(sides)} pixels", allowed=_SIDES.allowed
            )
    known = _BUNDLED_OPTIONS.get(recipe.name) or _OPTIONS.get(recipe.name.partition("/")[0], {})
    check_options(recipe.network_options, known)


def refused_in_a_file(recipe: ClassifierRecipe) -> str:
    """What of a recipe must be said again by the user who loads it from a file; empty if nothing.

    Example:
        >>> options = {"trust_remote_code": True}
        >>> refused_in_a_file(ClassifierRecipe("hf/somebody/network", network_options=options))
        "network option 'trust_remote_code'"
    """
    try:
        refuse_forbidden(recipe)
    except ForbiddenRecipeError as problem:
        return problem.problem
    return ""


def check_options(options: Mapping[str, Any], known: Mapping[str, OptionRule]) -> None:
    """Refuse an option or a value that is not on the list.

    Raises:
        ForbiddenRecipeError: names the first one.
    """
    for name, value in options.items():
        if name not in known:
            raise ForbiddenRecipeError(
                f"network option {_brief(name)}", allowed=", ".join(known), option=name
            )
        if not known[name].accepts(value):
            raise ForbiddenRecipeError(
                f"network option {name}={_brief(value)}", allowed=known[name].allowed, option=name
            )


def check_timm_configuration(
    described: Mapping[str, Any], name: str, architectures: Collection[str]
) -> None:
    """Refuse the ``config.json`` of a timm network that asks for more than plain options.

    Args:
        described: its content.
        name: the name of the network, for messages.
        architectures: the names that timm has.

    Raises:
        ClassifierError: names the entry.

    Example:
        >>> check_timm_configuration({"architecture": "resnet18"}, "mine", ["resnet18"])
    """
    architecture = described.get("architecture")
    if not isinstance(architecture, str) or architecture.partition(".")[0] not in architectures:
        raise asks_for(name, "architecture", "the name of a timm network")
    for entry in ("model_args", "pretrained_cfg"):
        if not isinstance(described.get(entry) or {}, Mapping):
            raise asks_for(name, entry, "a table")
    check_options(described.get("model_args") or {}, TIMM_OPTIONS)
    refuse_huge_pictures(described.get("pretrained_cfg") or {}, name)
    classes = described.get("num_classes", 0)
    if not _is_whole(classes, 0, MOST_CLASSES):
        raise asks_for(name, "num_classes", f"a whole number up to {MOST_CLASSES}")


def refuse_huge_pictures(processor: Mapping[str, Any], name: str) -> None:
    """Refuse an image processor that makes pictures which do not fit into memory.

    Args:
        processor: its entries.
        name: the name of the network, for messages.

    Raises:
        ClassifierError: names the entry.

    Example:
        >>> refuse_huge_pictures({"size": {"height": 224, "width": 224}}, "hf/mine")
        >>> try:
        ...     refuse_huge_pictures({"size": {"height": 10**6, "width": 224}}, "theirs")
        ... except ClassifierError as problem:
        ...     problem.allowed
        'sides up to 4096'
    """
    for entry in ("size", "crop_size", "pad_size", "input_size", "test_input_size"):
        value = processor.get(entry)
        if isinstance(value, Mapping):
            value = list(value.values())
        sides = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(side, int | float) and not side <= LONGEST_SIDE for side in sides):
            raise asks_for(name, entry, f"sides up to {LONGEST_SIDE}")


def asks_for(name: str, entry: str, allowed: str) -> ClassifierError:
    """The error for a network whose configuration asks for what ttame does not follow."""
    return ClassifierError(
        f"{name} asks for {entry} in its configuration, which ttame does not follow",
        allowed=allowed,
        remedy="loading it yourself, and ttame.Classifier(network, preprocessing=...)",
    )


def _check_name(name: str) -> None:
    """Allow the names of sources that are on the list: a new one is for people to type."""
    source, slash, place = name.partition("/")
    well_formed: dict[str, Callable[[str], bool]] = {
        "timm": _is_timm_name,
        "torchvision": lambda word: _PLAIN_NAME.fullmatch(word) is not None,
        "hf": lambda word: _HUB_NAME.fullmatch(word) is not None or _is_plain_path(word),
    }
    allowed = source in well_formed and well_formed[source](place) if slash else True
    if not allowed or ".." in place or (":" in source and not slash):
        raise ForbiddenRecipeError(
            f"classifier {_brief(name)}",
            allowed="timm/NAME, torchvision/NAME, hf/REPOSITORY, hf/ABSOLUTE_FOLDER",
        )


def _is_timm_name(word: str) -> bool:
    """An architecture, a repository with timm's configuration, or an absolute folder with one."""
    where, colon, place = word.partition(":")
    if not colon:
        return _TIMM_NAME.fullmatch(word) is not None
    if where == "hf-hub":
        return _HUB_NAME.fullmatch(place.partition("@")[0]) is not None
    return where == "local-dir" and _is_plain_path(place)


def _check_weights(weights: str) -> None:
    if weights in ("default", "none"):
        return
    if not _is_plain_path(weights) or Path(weights).suffix.lower() not in _WEIGHTS_SUFFIXES:
        raise ForbiddenRecipeError(
            f"weights {_brief(weights)}",
            allowed='"default", "none", or the absolute path of a file of weights '
            f"({', '.join(_WEIGHTS_SUFFIXES)})",
        )


def _is_plain_path(text: str) -> bool:
    """Whether it is absolute, on this machine, and leads nowhere but where it says."""
    path = Path(text)
    remote = text.startswith(("//", "\\\\"))
    return path.is_absolute() and not remote and ".." not in path.parts and "\0" not in text


def _brief(value: Any) -> str:
    """How a stranger's value is repeated: one line, and not a long one."""
    if isinstance(value, list | dict):
        return f"a {'list' if isinstance(value, list) else 'table'}"
    text = repr(value[: _LONGEST_WORD + 1] if isinstance(value, str) else value)
    return text if len(text) <= _LONGEST_WORD else f"{text[:_LONGEST_WORD]}…"
