"""What the configuration of a transformers network may ask for without its user's trust.

transformers itself runs no code of a repository without ``trust_remote_code``. But some entries of
a configuration load kernels from the hub, choose a library that unpacks the weights, or are passed
on to timm, and a single number can ask for more memory than there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ttame.classifiers.recipe_rules import (
    MOST_CLASSES,
    asks_for,
    check_timm_configuration,
)
from ttame.classifiers.sources.timm_models import names as timm_names
from ttame.errors import (
    ClassifierError,
    setting,
)

_ATTENTION = (None, "eager", "sdpa")
"""Implementations that come with torch."""


def refuse_code(described: Mapping[str, Any], name: str) -> None:
    """Refuse a ``config.json`` that asks for code, or for an absurd number of classes.

    Args:
        described: its content.
        name: the name of the network, for messages.

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
                raise asks_for(name, entry, "eager or sdpa")
        for entry in ("quantization_config", "use_kernels", "kernel_config"):
            if table.get(entry):
                raise asks_for(name, entry, "none")
    if described.get("model_type") == "timm_wrapper":
        # A network of timm in the clothes of transformers: the same rules as for timm.
        check_timm_configuration(described, name, timm_names())
    classes = described.get("num_labels")
    if classes is not None and not (isinstance(classes, int) and 0 <= classes <= MOST_CLASSES):
        raise asks_for(name, "num_labels", f"a whole number up to {MOST_CLASSES}")


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
            remedy=f"{setting('network_options', {'trust_remote_code': True})}, once you have read "
            "that code",
        )
