"""The page: what a browser shows, from files of this package alone."""

from __future__ import annotations

import functools
import json
import mimetypes
from collections.abc import Mapping, Sequence
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Any

import jinja2
from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response
from PIL import Image

from ttame.drawing.colour_scales import colour_scale, known_scales
from ttame.drawing.heatmap_overlay import DEFAULT_OPACITY, UNSEEN_BRIGHTNESS, opacity_scale
from ttame.images.photos import read_photo
from ttame.serving.engine import Engine
from ttame.serving.problems import Problem
from ttame.version import __version__

_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_SHARED = ("page.css", "pictures.css")
"""Styles of the pages that ``ttame explain`` writes: this one looks as they do."""

_SMALL = (192, 192)
_FRESH = {"Cache-Control": "no-cache"}


def page_routes(engine: Engine, samples: Sequence[Path]) -> APIRouter:
    """The routes of the page.

    Args:
        engine: does the work.
        samples: photos that it offers.
    """
    routes = APIRouter(include_in_schema=False)
    files = static_files()

    @routes.get("/")
    async def page() -> HTMLResponse:
        return HTMLResponse(page_of(engine, [path.stem for path in samples]), headers=_FRESH)

    @routes.get("/static/{name}")
    async def static(name: str) -> Response:
        if name not in files:
            raise Problem(404, "no such file")
        content, kind = files[name]
        return Response(content, media_type=kind, headers=_FRESH)

    @routes.get("/samples/{number}")
    async def sample(number: int) -> Response:
        path = _sample(samples, number)
        return Response(path.read_bytes(), media_type=mimetypes.guess_type(path.name)[0])

    @routes.get("/samples/{number}/small")
    def small(number: int) -> Response:
        return Response(_thumbnail(_sample(samples, number)), media_type="image/jpeg")

    return routes


def static_files() -> dict[str, tuple[bytes, str]]:
    """What the page is made of: name to content and media type.

    Example:
        >>> sorted(static_files())[:3]
        ['class_names.js', 'fetching.js', 'hiding.js']
    """
    own = resources.files("ttame.serving").joinpath("static")
    shared = resources.files("ttame.reporting").joinpath("templates")
    found = [each for each in own.iterdir() if Path(each.name).suffix in _KINDS]
    found += [shared.joinpath(name) for name in _SHARED]
    return {each.name: (each.read_bytes(), _KINDS[Path(each.name).suffix]) for each in found}


def page_of(engine: Engine, samples: Sequence[str]) -> str:
    """The page; where a token is asked for, it says nothing of the classifier.

    Args:
        engine: does the work.
        samples: names of photos that it offers.
    """
    settings, network = engine.settings, engine.network
    return _template().render(
        facts=None if settings.token else network,
        methods=[method.card.title for method in network.methods.values()],
        samples=samples,
        look=_for_scripts(look_of(engine)),
        scales=known_scales(),
        opacity=round(100 * DEFAULT_OPACITY),
        most_methods=settings.most_methods,
        limits=settings.of_photos(),
    )


def look_of(engine: Engine) -> Mapping[str, Any]:
    """What the page's scripts must know to draw as Python does."""
    settings, preprocessing = engine.settings, engine.network.preprocessing
    return {
        "scales": {name: colour_scale(name).tobytes().hex() for name in known_scales()},
        "opacities": opacity_scale(1.0).tolist(),
        "unseen": UNSEEN_BRIGHTNESS,
        "input_size": list(preprocessing.input_size),
        "mean": _colour(preprocessing.mean),
        "largest_upload": settings.largest_upload,
        "most_methods": settings.most_methods,
        "version": __version__,
    }


def _colour(mean: Sequence[float]) -> list[int]:
    """The mean colour of pixels as RGB, of grey ones as well."""
    three = list(mean[:3]) if len(mean) >= 3 else [mean[0]] * 3
    return [round(255 * min(1.0, max(0.0, value))) for value in three]


def _for_scripts(content: Mapping[str, Any]) -> str:
    """JSON that may stand in a page: no "<" begins a tag or ends the script."""
    return json.dumps(content).replace("<", "\\u003c")


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ttame.serving"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("serve.html")


def _sample(samples: Sequence[Path], number: int) -> Path:
    if not 0 <= number < len(samples):
        raise Problem(404, "no such sample")
    return samples[number]


@functools.lru_cache(maxsize=16)
def _thumbnail(path: Path) -> bytes:
    picture: Image.Image = read_photo(path)
    picture.thumbnail(_SMALL)
    stream = BytesIO()
    picture.save(stream, "JPEG", quality=80)
    return stream.getvalue()
