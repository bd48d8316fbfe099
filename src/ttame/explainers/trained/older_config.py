"""``config.json`` as ttame wrote it in schema 1, brought to the form of schema 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic

from ttame.explainers.trained.older_settings import FLAT_DEFAULTS, with_parts
from ttame.explainers.trained.strict_model import (
    PER_TAP,
    Count,
    Position,
    StrictModel,
    Text,
    Width,
)


class _FewShot(StrictModel):
    prior: bool
    embedding: bool
    gate: bool
    branched: Annotated[tuple[Position, ...], PER_TAP]
    pooled: Position | None
    class_layer: Text
    class_width: Width
    # The oldest files have none.
    details: Annotated[float, pydantic.Field(ge=0, le=1)] = 1.0


class _Head(StrictModel):
    variant: Literal[
        "t-tame", "no-skip", "no-skip-no-batch-norm", "sigmoid-in-branch", "l-cam", "few-shot"
    ]
    class_token: Literal["drop", "multiply"]
    channels: Annotated[tuple[Count, ...], PER_TAP]
    number_of_classes: Count
    # The oldest files have neither.
    maps: Literal["raw", "sigmoid", "min-max"] = "raw"
    few_shot: _FewShot | None = None

    @pydantic.field_validator("few_shot")
    @classmethod
    def _fits(cls, few_shot: _FewShot | None, read: pydantic.ValidationInfo) -> _FewShot | None:
        if "variant" in read.data and (few_shot is not None) != (
            read.data["variant"] == "few-shot"
        ):
            raise ValueError(f"a head of variant {read.data['variant']}")
        return few_shot


class _Config(StrictModel):
    model_config = pydantic.ConfigDict(extra="ignore", frozen=True)

    head: _Head
    training: dict[str, Any]


def of_schema_1(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a file of schema 1 as schema 2 has it.

    Args:
        content: possibly from a stranger; what is not touched here is still unchecked.

    Raises:
        pydantic.ValidationError: its head is broken.
    """
    read = _Config.model_validate(content)
    training = dict(read.training)
    settings = training.get("settings")
    flat = settings if isinstance(settings, Mapping) else {}
    if flat:
        training["settings"] = with_parts({n: v for n, v in flat.items() if n in FLAT_DEFAULTS})
    return {
        **content,
        "schema_version": 2,
        "head": _head(read.head, flat.get("mean_map", FLAT_DEFAULTS["mean_map"])),
        "training": training,
    }


def _head(old: _Head, mean_map: Any) -> dict[str, Any]:
    few_shot = old.few_shot
    maps = {"kind": old.maps} | ({"mean_map": mean_map} if old.maps == "min-max" else {})
    settings: dict[str, Any] = {"kind": old.variant, "maps": maps}
    inputs: dict[str, Any] = {}
    if few_shot is None:
        settings["class_token"] = old.class_token
    else:
        parts = {"prior": few_shot.prior, "embedding": few_shot.embedding, "gate": few_shot.gate}
        settings["without"] = [name for name, has in parts.items() if not has]
        settings["details"] = few_shot.details
        names = ("branched", "pooled", "class_layer", "class_width")
        inputs = {name: getattr(few_shot, name) for name in names}
    return {
        "settings": settings,
        "channels": old.channels,
        "number_of_classes": old.number_of_classes,
        "inputs": inputs,
    }
