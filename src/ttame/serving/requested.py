"""What one request asks for, read from the fields of its form."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ttame.classifiers.class_selection import class_index, classes_in_text
from ttame.errors import ClassSelectionError, UnknownNameError
from ttame.serving.problems import Problem
from ttame.serving.served_network import ServedNetwork
from ttame.serving.settings import ServingSettings
from ttame.serving.wanted import Wanted

MapFormat = Literal["png", "float16", "safetensors", "none"]

LARGEST_SIDE = 4096
"""Pixels of maps that are asked for."""

LONGEST_NAME = 500
Name = Annotated[str, Field(max_length=LONGEST_NAME)]
"""Of a class or method; what is longer is none, and looking for what was meant would take long."""


class PhotoForm(BaseModel):
    """The fields of every request about a photo."""

    model_config = ConfigDict(extra="forbid")

    photo: str | None = Field(
        None,
        description="A photo as JPEG, PNG, WebP, BMP, GIF, TIFF or AVIF.",
        json_schema_extra={"format": "binary"},
    )
    tensor: str | None = Field(
        None,
        description="Instead of a photo: safetensors with one float32 tensor `images` of shape "
        "(1, C, H, W), normalised as the classifier takes it.",
        json_schema_extra={"format": "binary"},
    )
    prepared: bool = Field(
        False, description="The photo shows just what the network sees: it is not cropped."
    )
    top: int = Field(10, ge=1, le=100, description="How many of the most probable classes to name.")
    input: bool = Field(False, description="Whether to return what the network sees, as a PNG.")


class PredictionForm(PhotoForm):
    """The fields of ``POST /v1/predictions``."""

    hide: str | None = Field(
        None,
        description="Rectangles of the photo, or of the tensor, that are hidden, in fractions of "
        "its sides: "
        '`[{"left": 0.1, "top": 0.2, "right": 0.5, "bottom": 0.6}]`.',
        max_length=10_000,
    )
    kept: str | None = Field(
        None,
        description="A grey picture of the size of the network's input, dark where the input is "
        "hidden.",
        json_schema_extra={"format": "binary"},
    )
    fill: Literal["mean", "black"] = Field("mean", description="What stands where it is hidden.")


class ExplanationForm(PhotoForm):
    """The fields of ``POST /v1/explanations``."""

    methods: list[Name] = Field(
        [], description="Names of methods; the first of `GET /v1/methods` if not given."
    )
    classes: list[Name] = Field(
        [],
        description="Names or indices of classes, `top3` and the like, or `all`; `top1` if not "
        "given.",
    )
    rather_than: Name | None = Field(
        None, description="A class: maps show what speaks for `classes` rather than for it."
    )
    weights: str | None = Field(
        None,
        description="Instead of classes: a weighted sum of the scores of classes, as JSON: "
        '`{"tabby": 0.5, "tiger cat": 0.5, "lynx": -1}`.',
    )
    maps: MapFormat = Field(
        "png",
        description="`png`: 8-bit grey, from 0 to the map's highest value. `float16`: the same "
        "numbers in [0, 1], row by row, little-endian. `safetensors`: a file that "
        "`ttame.Explanation.load` reads, with the numbers as the method computes them. `none`: "
        "no maps.",
    )
    size: str = Field(
        "grid",
        description="Of maps as `png` or `float16`: `grid` (the method's own), `input` (the "
        "network's input), `photo` (on the photo, 0 where the network did not look), or "
        "HEIGHTxWIDTH of the input.",
        pattern=r"^(grid|input|photo|[1-9][0-9]{0,3}x[1-9][0-9]{0,3})$",
    )
    progress: bool = Field(
        False,
        description="Whether to answer line by line (`application/x-ndjson`): how far it is, and "
        "at last the answer.",
    )


@dataclasses.dataclass(frozen=True)
class AskedMaps:
    """The maps that are wanted.

    Attributes:
        methods: names.
        wanted: of the photo, for the first method; the others explain the same classes.
        format: the format of the maps.
        size: see :class:`ExplanationForm`; (H, W) where numbers were given.
    """

    methods: tuple[str, ...]
    wanted: Wanted
    format: MapFormat
    size: Literal["grid", "input", "photo"] | tuple[int, int]


Form = TypeVar("Form", bound=BaseModel)


def checked_form(model: type[Form], fields: Mapping[str, Any]) -> Form:
    """Read the fields of a form.

    Raises:
        Problem: 422, with the first field that cannot be read.

    Example:
        >>> checked_form(PredictionForm, {"top": "3"}).top
        3
    """
    try:
        return model.model_validate(fields)
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"])[:100]
        if first["type"] == "extra_forbidden":
            allowed = ", ".join(model.model_fields)
            raise Problem(422, f"unknown field {field!r}; allowed: {allowed}") from problem
        raise Problem(422, f"{field!r}: {first['msg']}") from problem


def asked_maps(
    form: ExplanationForm, network: ServedNetwork, settings: ServingSettings
) -> AskedMaps:
    """What a form asks for, checked against the network before anything runs.

    Raises:
        TtameError: a class or method that does not exist.
        Problem: more than the server allows.
    """
    methods = _methods(form.methods, network, settings)
    wanted = _wanted(form, network, settings)
    kinds = {"weightings"} if wanted.rather_than is not None or wanted.weights else {"classes"}
    for name in methods:
        card = network.methods[name].card
        if not kinds <= {*card.targets}:
            raise ClassSelectionError(
                f"{name} does not compare classes", remedy="another method, or classes alone"
            )
    return AskedMaps(methods, wanted, form.maps, _size(form.size))


def _methods(
    given: Sequence[str], network: ServedNetwork, settings: ServingSettings
) -> tuple[str, ...]:
    names = [part.strip() for text in given for part in text.split(",") if part.strip()]
    names = list(dict.fromkeys(names)) or list(network.methods)[:1]
    if len(names) > settings.most_methods:
        raise Problem(422, f"{len(names)} methods; allowed: {settings.most_methods}")
    for name in names:
        if name not in network.methods:
            raise UnknownNameError.of("method", name, network.methods)
    return tuple(names)


def _wanted(form: ExplanationForm, network: ServedNetwork, settings: ServingSettings) -> Wanted:
    count, names = network.number_of_classes, network.class_names
    if form.weights is not None:
        if form.classes or form.rather_than is not None:
            raise ClassSelectionError("classes and weights", allowed="one of them")
        return Wanted(weights=_weights(form.weights, network))
    entries = form.classes or ["top1"]
    if len(entries) == 1:
        entries = classes_in_text(entries[0], names)
    if not entries:
        raise ClassSelectionError("an empty list of classes", allowed="names, indices, or top3")
    other = None if form.rather_than is None else class_index(form.rather_than, names, count)
    top = re.fullmatch(r"top([0-9]{1,6})", entries[0]) if len(entries) == 1 else None
    if top:
        return Wanted(top=_checked_count(int(top[1]), count, settings), rather_than=other)
    if entries == ["all"]:
        indices = tuple(range(_checked_count(count, count, settings)))
    else:
        indices = tuple(dict.fromkeys(class_index(name, names, count) for name in entries))
        _checked_count(len(indices), count, settings)
    return Wanted(classes=indices, rather_than=other)


def _checked_count(wanted: int, count: int, settings: ServingSettings) -> int:
    most = min(count, settings.most_classes)
    if not 1 <= wanted <= most:
        raise ClassSelectionError(f"{wanted} classes", allowed=f"1 to {most} at a time")
    return wanted


def _weights(text: str, network: ServedNetwork) -> tuple[float, ...]:
    allowed = '{"class": weight, ...} with finite weights that are not all 0'
    try:
        given = json.loads(text, parse_constant=lambda word: None)
        pairs = [(str(name), float(weight)) for name, weight in given.items()]
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError) as problem:
        raise ClassSelectionError("weights that cannot be read", allowed=allowed) from problem
    if any(len(name) > LONGEST_NAME for name, _ in pairs):
        raise ClassSelectionError("weights of a class with an endless name", allowed=allowed)
    weights = [0.0] * network.number_of_classes
    for name, weight in pairs:
        weights[class_index(name, network.class_names, network.number_of_classes)] = weight
    if not any(weights) or not all(abs(weight) < 1e30 for weight in weights):
        raise ClassSelectionError("weights that cannot be used", allowed=allowed)
    return tuple(weights)


def _size(text: str) -> Any:
    if "x" not in text:
        return text
    height, width = (int(side) for side in text.split("x"))
    if not (1 <= height <= LARGEST_SIDE and 1 <= width <= LARGEST_SIDE):
        raise Problem(422, f"maps of {text} pixels; allowed: 1x1 to {LARGEST_SIDE}x{LARGEST_SIDE}")
    return height, width
