"""Training settings as ttame wrote them before they had parts, in explainers and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FLAT_DEFAULTS: dict[str, Any] = {
    "preset": "t-tame",
    "method": "t_tame",
    "head": "t-tame",
    "class_token": "drop",
    "maps": "raw",
    "without": "nothing",
    "last_tap_only": False,
    "masked": "image",
    "masking_space": "by family",
    "augmentation": "by family",
    "objective": "t-tame",
    "mean_map": 0.55,
    "details": 1.0,
    "map_selection": "random",
    "cross_entropy_weight": 1.5,
    "area_weight": 2.0,
    "area_power": 0.3,
    "smoothness_weight": 0.01,
    "border_weight": 0.3,
    "epochs": 8,
    "batch_size": 32,
    "optimiser": "sgd",
    "learning_rate": 1e-3,
    "bias_learning_rate_factor": 1.0,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "held_out_share": 0.1,
    "held_out_at_most": 500,
    "seed": 0,
    "mixed_precision": "no",
    "gradient_accumulation": 1,
    "workers": 2,
    "checkpoint_every": 100,
}
"""Every setting that there was, read or not; a file that lacks one was written with its default."""

_OF_HEADS = {"few-shot": ("details", "last_tap_only"), "l-cam": ("class_token",)}
_OF_OTHER_HEADS = ("class_token", "last_tap_only")
_OF_T_TAME = (
    "map_selection",
    "cross_entropy_weight",
    "area_weight",
    "area_power",
    "smoothness_weight",
    "border_weight",
)
_OF_DATA = ("augmentation", "held_out_share", "held_out_at_most")
_OF_OPTIMISERS = ("learning_rate", "bias_learning_rate_factor", "weight_decay")
_OF_RUNS = (
    "epochs",
    "batch_size",
    "seed",
    "gradient_accumulation",
    "mixed_precision",
    "workers",
    "checkpoint_every",
)


def with_parts(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Flat settings in their parts, without what nothing read.

    Args:
        flat: from a file, unchecked. Files of older versions lack some.

    Example:
        >>> with_parts({"optimiser": "adamw", "learning_rate": 0.01})["optimiser"]
        {'kind': 'adamw', 'learning_rate': 0.01, 'bias_learning_rate_factor': 1.0, 'weight_decay': 0.0005}
    """  # noqa: E501 - one line of output
    old = {**FLAT_DEFAULTS, **flat}

    def take(names: tuple[str, ...]) -> dict[str, Any]:
        return {name: old[name] for name in names}

    sgd = old["optimiser"] == "sgd"
    masked = {"kind": old["masked"]}
    if old["masked"] == "image":
        masked["masking_space"] = old["masking_space"]
    of_objective = _OF_T_TAME if old["objective"] == "t-tame" else ()
    return {
        "preset": old["preset"],
        "method": old["method"],
        "head": _head(old),
        "objective": {"kind": old["objective"], "masked": masked, **take(of_objective)},
        "data": take(_OF_DATA),
        "optimiser": {
            "kind": old["optimiser"],
            **take(_OF_OPTIMISERS),
            **(take(("momentum",)) if sgd else {}),
        },
        "run": take(_OF_RUNS),
    }


def _head(old: Mapping[str, Any]) -> dict[str, Any]:
    maps = {"kind": old["maps"]}
    if old["maps"] == "min-max":
        maps["mean_map"] = old["mean_map"]
    kind = old["head"]
    of_head = _OF_HEADS.get(kind, _OF_OTHER_HEADS) if isinstance(kind, str) else _OF_OTHER_HEADS
    head = {"kind": kind, "maps": maps, **{name: old[name] for name in of_head}}
    if kind == "few-shot":
        head["without"] = [] if old["without"] == "nothing" else [old["without"]]
    return head
