"""What the configuration of a transformers network may ask for without its user's trust.

transformers itself runs no code of a repository without ``trust_remote_code``. But some entries of
a configuration load kernels from the hub, choose a library that unpacks the weights, or are passed
on to timm, and a single number can ask for more memory than there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ttame.classifiers.recipe_rules import LONGEST_SIDE, MOST_CLASSES, TIMM_OPTIONS, check_options
from ttame.classifiers.sources.timm_models import names as timm_names
from ttame.errors import ClassifierError

_ATTENTION = (None, "eager", "sdpa")
"""Implementations that come with torch."""


def refuse_code(described: Mapping[str, Any], name: str) -> None:
    """Refuse a ``config.json`` that asks for code, or for an absurd number of classes.

    Args:
        described: its content.
        name: of the network, for messages.

    Raises:
        ClassifierError: names the entry.

    Example:
        >>> refuse_code({"model_type": "vit", "num_labels": 3}, "hf/mine")
        >>> try:
        ...     refuse_code({"model_type": "new", "auto_map": {"AutoConfig": "new.New"}}, "theirs")
        ... except ClassifierError as problem:
        ...     problem.problem
        'theirs brings Python code of its own, which would run with your rights'
    """
    _refuse_own_code(described, name)
    for table in _tables(described):
        for entry in ("attn_implementation", "_attn_implementation", "experts_implementation"):
            if entry in table and table[entry] not in _ATTENTION:
                raise _asks_for(name, entry, "eager or sdpa")
        for entry in ("quantization_config", "use_kernels", "kernel_config"):
            if table.get(entry):
                raise _asks_for(name, entry, "none")
    if described.get("model_type") == "timm_wrapper":
        _check_wrapped(described, name)
    classes = described.get("num_labels")
    if classes is not None and not (isinstance(classes, int) and 0 <= classes <= MOST_CLASSES):
        raise _asks_for(name, "num_labels", f"a whole number up to {MOST_CLASSES}")


def _tables(table: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The configuration and those inside it, of the parts of the network."""
    yield table
    for value in table.values():
        if isinstance(value, Mapping):
            yield from _tables(value)


def _refuse_own_code(described: Mapping[str, Any], name: str) -> None:
    from transformers import CONFIG_MAPPING

    native = described.get("model_type") in CONFIG_MAPPING
    if described.get("auto_map") and not native:
        raise ClassifierError(
            f"{name} brings Python code of its own, which would run with your rights",
            allowed="networks whose code is part of transformers",
            remedy="--network-option trust_remote_code=true, or in Python network_options="
            '{"trust_remote_code": True}, once you have read that code',
        )


def _check_wrapped(described: Mapping[str, Any], name: str) -> None:
    """A network of timm in the clothes of transformers: the same rules as for timm."""
    architecture = described.get("architecture")
    if not isinstance(architecture, str) or architecture.partition(".")[0] not in timm_names():
        raise _asks_for(name, "architecture", "the name of a timm network")
    arguments = described.get("model_args") or {}
    if not isinstance(arguments, Mapping):
        raise _asks_for(name, "model_args", "a table")
    check_options(arguments, TIMM_OPTIONS)
    pretrained = described.get("pretrained_cfg") or {}
    if not isinstance(pretrained, Mapping):
        raise _asks_for(name, "pretrained_cfg", "a table")
    refuse_huge_pictures(pretrained, name)


def refuse_huge_pictures(processor: Mapping[str, Any], name: str) -> None:
    """Refuse an image processor that makes pictures which do not fit into memory.

    Args:
        processor: its entries.
        name: of the network, for messages.

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
            raise _asks_for(name, entry, f"sides up to {LONGEST_SIDE}")


def _asks_for(name: str, entry: str, allowed: str) -> ClassifierError:
    return ClassifierError(
        f"{name} asks for {entry} in its configuration, which ttame does not follow",
        allowed=allowed,
        remedy="loading it yourself, and ttame.Classifier(network, preprocessing=...)",
    )
