"""Which settings of a training nothing reads, because of the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_OF_THE_T_TAME_OBJECTIVE = (
    "map_selection",
    "cross_entropy_weight",
    "area_weight",
    "area_power",
    "smoothness_weight",
    "border_weight",
)


def idle_settings(settings: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Name of each setting that this training does not look at, to what would.

    Args:
        settings: all of them, by name. Files of older versions lack some.

    Returns:
        Name to another setting and a value of it, with which the named one would be read.

    Example:
        >>> idle_settings({"objective": "t-tame", "maps": "raw", "optimiser": "sgd"})
        {'mean_map': ('preset', 'few-shot')}
    """
    idle: dict[str, tuple[str, str]] = {}
    if settings.get("objective") == "kept-share":
        idle |= dict.fromkeys(_OF_THE_T_TAME_OBJECTIVE, ("objective", "t-tame"))
    if settings.get("maps") != "min-max":
        # Other heads have no min-max maps.
        few_shot = settings.get("head") == "few-shot"
        idle["mean_map"] = ("maps", "min-max") if few_shot else ("preset", "few-shot")
    if settings.get("masked") == "features":
        idle["masking_space"] = ("preset", "l-cam-img")
    if settings.get("optimiser") == "adamw":
        idle["momentum"] = ("optimiser", "sgd")
    return idle
