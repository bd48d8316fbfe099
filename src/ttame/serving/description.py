"""How the API describes itself: OpenAPI, as exact as the network that is served allows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from ttame.serving.answers import ProblemAnswer
from ttame.serving.hiding import MOST_RECTANGLES, Rectangle
from ttame.serving.problems import MEDIA_TYPE
from ttame.serving.requested import LONGEST_NAME
from ttame.serving.settings import ServingSettings

_REFUSED = {
    401: "No valid token.",
    403: "A request for another page.",
    408: "It took too long to arrive.",
    413: "Too large.",
    415: "Not a form, or not a photo.",
    421: "A name that is not of this machine.",
    422: "Something in it cannot be used.",
    500: "Something went wrong here.",
    503: "Full, starting or stopping.",
    504: "It took too long.",
}
WORK = tuple(_REFUSED)
"""What a request that is worked on may be refused with."""

_PHOTOS = "image/jpeg, image/png, image/webp, image/bmp, image/gif, image/tiff, image/avif"
_SCHEMAS = "#/components/schemas/{model}"
_JSON = "application/json"
_TOKEN = "token"
_SIDE = "([1-9][0-9]{0,2}|[1-3][0-9]{3}|40[0-8][0-9]|409[0-6])"
"""A whole number from 1 to 4096, the largest side of maps that are asked for."""

_SPECIAL = re.compile(r"[.*+?^${}()|\[\]\\/]")


def refusals(settings: ServingSettings, *statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route, in OpenAPI's words.

    Args:
        settings: a token is asked for, and names are looked at, only where these say so.
        statuses: what else it may be refused with.

    Example:
        >>> sorted(refusals(ServingSettings(), 503))
        [421, 500, 503]
    """
    always = {500, *([421] if settings.is_local else [])}
    asked = {*statuses} - (set() if settings.token else {401}) - {421}
    return {status: _refusal(status) for status in sorted(always | asked)}


def body_of(model: type[BaseModel], methods: Iterable[str]) -> dict[str, Any]:
    """The form that a route takes.

    Args:
        model: of its fields.
        methods: that are served.
    """
    schema = model.model_json_schema(ref_template=_SCHEMAS)
    fields = {name: _field(about) for name, about in schema["properties"].items()}
    for name, more in _more_about(methods).items():
        if name in fields:
            fields[name] |= more
    files = {"photo": _PHOTOS, "tensor": "application/octet-stream", "kept": "image/png"}
    one_of = {"oneOf": [{"required": ["photo"]}, {"required": ["tensor"]}]}
    return {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {**schema, "properties": fields, **one_of},
                "encoding": {
                    name: {"contentType": kind} for name, kind in files.items() if name in fields
                },
            }
        },
    }


def describing(app: FastAPI, settings: ServingSettings, free: Iterable[str]) -> Callable[[], Any]:
    """What ``app.openapi`` becomes: with the schema of refusals and the token, if there is one.

    Args:
        app: whose own description is taken.
        settings: of the server.
        free: addresses that need no token.
    """
    described = app.openapi

    def openapi() -> dict[str, Any]:
        content = described()
        components = content["components"]
        components["schemas"]["ProblemAnswer"] = ProblemAnswer.model_json_schema()
        for name in ("HTTPValidationError", "ValidationError"):
            components["schemas"].pop(name, None)
        if settings.token:
            components["securitySchemes"] = {_TOKEN: {"type": "http", "scheme": "bearer"}}
            for address, operations in content["paths"].items():
                for operation in operations.values():
                    operation["security"] = [] if address in free else [{_TOKEN: []}]
        return content

    return openapi


def _refusal(status: int) -> dict[str, Any]:
    found = {
        "description": _REFUSED[status],
        "content": {MEDIA_TYPE: {"schema": {"$ref": _SCHEMAS.format(model="ProblemAnswer")}}},
    }
    if status == 503:
        wait = {"type": "integer", "minimum": 1}
        found["headers"] = {
            "Retry-After": {"description": "Seconds.", "required": True, "schema": wait}
        }
    return found


def _field(about: dict[str, Any]) -> dict[str, Any]:
    """A field of a form, which has no null: what is optional is left out."""
    kinds = [kind for kind in about.get("anyOf", []) if kind != {"type": "null"}]
    kept = {name: value for name, value in about.items() if name not in ("anyOf", "title")}
    kept |= kinds[0] if kinds else {}
    if kept.get("default", 0) is None:
        del kept["default"]
    return kept


def _more_about(methods: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What the fields' texts are: names of what is served, and JSON."""
    text = {"type": "string", "maxLength": LONGEST_NAME}
    names = "|".join(_SPECIAL.sub(r"\\\g<0>", name) for name in methods)
    rectangles = {
        "type": "array",
        "maxItems": MOST_RECTANGLES,
        "items": Rectangle.model_json_schema(),
    }
    return {
        "methods": {"items": {**text, "pattern": f"^({names})(,({names}))*$"}},
        "size": {"pattern": f"^(grid|input|photo|{_SIDE}x{_SIDE})$"},
        "classes": {"items": {**text, "format": "classes"}},
        "rather_than": {"format": "class"},
        "weights": {"format": "class-weights", "contentMediaType": _JSON},
        "hide": {"format": "rectangles", "contentMediaType": _JSON, "contentSchema": rectangles},
    }
