"""The API: explanations, predictions, what is served, and the probes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from torch import Tensor

from ttame.errors import TtameError
from ttame.images.photo_crop import PhotoRegion
from ttame.images.photo_frame import PhotoFrame
from ttame.serving.answers import (
    ClassifierAnswer,
    ExplanationAnswer,
    GivenPhoto,
    HealthAnswer,
    MapsWritten,
    MethodsAnswer,
    PredictionAnswer,
    classifier_answer,
    explanation_answer,
    method_answer,
    top_classes,
)
from ttame.serving.description import WORK, body_of, refusals
from ttame.serving.engine import Engine, Told
from ttame.serving.hiding import kept_outside, rectangles_in, with_hidden
from ttame.serving.monitoring import Monitoring
from ttame.serving.problems import MEDIA_TYPE, Problem, problem_of
from ttame.serving.requested import (
    AskedMaps,
    ExplanationForm,
    PredictionForm,
    asked_maps,
    checked_form,
)
from ttame.serving.upload_form import UploadForm, read_form
from ttame.serving.uploads import read_uploaded_mask, read_uploaded_photo, read_uploaded_tensor
from ttame.serving.waiting import Progress, telling_progress, while_wanted
from ttame.serving.written_maps import picture_png

SEVERAL = ("methods", "classes")
"""Fields that may be given several times."""

_LINES: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "application/x-ndjson": {
                "schema": {
                    "type": "string",
                    "description": "If `progress`: a line of JSON each time something is new, "
                    '`{"progress": {"method", "finished", "total"}}`; the last line is '
                    '`{"answer": ...}` or `{"problem": ...}`.',
                }
            }
        }
    }
}


def api_routes(engine: Engine, monitoring: Monitoring) -> APIRouter:
    """The routes of the API.

    Args:
        engine: does the work.
        monitoring: what ``/metrics`` tells.
    """
    routes = APIRouter()
    _add_work(routes, engine)
    _add_facts(routes, engine)
    _add_probes(routes, engine, monitoring)
    return routes


def _add_work(routes: APIRouter, engine: Engine) -> None:
    refused_with = refusals(engine.settings, *WORK)

    @routes.post(
        "/v1/explanations",
        response_model=ExplanationAnswer,
        responses=refused_with | _LINES,
        openapi_extra={"requestBody": body_of(ExplanationForm, engine.network.methods)},
        summary="Explain a photo by up to four methods",
    )
    async def explanations(request: Request) -> Response:
        return await answer_explanations(request, engine)

    @routes.post(
        "/v1/predictions",
        response_model=PredictionAnswer,
        responses=refused_with,
        openapi_extra={"requestBody": body_of(PredictionForm, engine.network.methods)},
        summary="Classify a photo, of which parts may be hidden",
    )
    async def predictions(request: Request) -> Response:
        return await answer_predictions(request, engine)


def _add_facts(routes: APIRouter, engine: Engine) -> None:
    refused_with = refusals(engine.settings, 401)

    @routes.get("/v1/methods", summary="The methods that may be asked for", responses=refused_with)
    async def methods() -> MethodsAnswer:
        served = engine.network.methods.values()
        return MethodsAnswer(
            methods=[method_answer(each, slow=engine.is_slow(each.name)) for each in served]
        )

    @routes.get(
        "/v1/classifier", summary="The classifier that is explained", responses=refused_with
    )
    async def classifier() -> ClassifierAnswer:
        return classifier_answer(engine.network)


def _add_probes(routes: APIRouter, engine: Engine, monitoring: Monitoring) -> None:
    settings = engine.settings

    @routes.get("/healthz", summary="Whether the process lives", responses=refusals(settings))
    async def healthz() -> HealthAnswer:
        return HealthAnswer(status="alive")

    @routes.get(
        "/readyz", summary="Whether requests are answered", responses=refusals(settings, 503)
    )
    async def readyz() -> HealthAnswer:
        if not engine.ready:
            raise Problem(503, "starting or stopping", retry_after=2)
        return HealthAnswer(status="ready")

    @routes.get(
        "/metrics",
        summary="Counts and times, for Prometheus",
        response_class=PlainTextResponse,
        responses=refusals(settings, 401),
    )
    async def metrics() -> Response:
        return Response(monitoring.as_text(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def answer_explanations(request: Request, engine: Engine) -> Response:
    """Answer ``POST /v1/explanations``."""
    with ExitStack() as held:
        arrived = held.enter_context(engine.admitted())
        upload = await read_form(request, engine.settings, SEVERAL)
        form = checked_form(ExplanationForm, upload.fields)
        seconds = engine.settings.time_limit
        asked, given = await engine.in_thread(lambda: read_request(form, upload, engine))
        if not form.progress:
            body = await while_wanted(
                request, explained(engine, given, asked, form.top, arrived, None), seconds
            )
            return Response(body, media_type="application/json")
        progress = Progress()
        work = explained(engine, given, asked, form.top, arrived, progress.told)
        lines = _lines(telling_progress(request, work, progress, seconds))
        return HeldResponse(lines, held.pop_all())


async def explained(
    engine: Engine,
    given: GivenPhoto,
    asked: AskedMaps,
    top: int,
    arrived: Callable[[], None],
    told: Told | None,
) -> bytes:
    """Explain a photo, and write the answer as JSON.

    Args:
        engine: does the work.
        given: the photo.
        asked: what is wanted.
        top: how many of the most probable classes are named.
        arrived: told when the photo waits for the network.
        told: how far each method is.
    """
    found = await engine.explain(given.input, asked.methods, asked.wanted, arrived, told)
    written = MapsWritten(asked.format, asked.size, engine.settings.most_values)

    def answer() -> bytes:
        whole = explanation_answer(engine.network, given, found, written, top)
        return whole.model_dump_json(exclude_none=True).encode()

    body: bytes = await engine.in_thread(answer)
    return body


async def answer_predictions(request: Request, engine: Engine) -> Response:
    """Answer ``POST /v1/predictions``."""
    with engine.admitted() as arrived:
        upload = await read_form(request, engine.settings)
        form = checked_form(PredictionForm, upload.fields)
        given = await engine.in_thread(lambda: given_in(form, upload, engine))
        hidden, share = _partly_hidden(given, form, upload, engine)
        probabilities = await while_wanted(
            request, engine.predict(hidden, arrived), engine.settings.time_limit
        )
        answer = PredictionAnswer(
            classifier=engine.network.name,
            exclusive=engine.network.exclusive,
            photo=given.facts(),
            hidden_share=share,
            prediction=top_classes(engine.network, probabilities, form.top),
            probabilities=probabilities.tolist(),
            input=picture_png(given.seen) if given.seen else None,
        )
        return Response(answer.model_dump_json(exclude_none=True), media_type="application/json")


def _partly_hidden(
    given: GivenPhoto, form: PredictionForm, upload: UploadForm, engine: Engine
) -> tuple[Tensor, float]:
    """What the network takes, and which share of it is hidden."""
    preprocessing = engine.network.preprocessing
    size = preprocessing.input_size
    # A tensor is all that there is: fractions are of it.
    whole = PhotoFrame((size[1], size[0]), PhotoRegion(0, 0, size[1], size[0]))
    frame = given.frame() or whole
    kept = kept_outside(rectangles_in(form.hide), frame.region, frame.size, size)
    if "kept" in upload.files:
        kept &= read_uploaded_mask(upload.files["kept"], size)
    hidden = with_hidden(given.input, kept, preprocessing, form.fill)
    return hidden, 1.0 - float(kept.float().mean())


def read_request(
    form: ExplanationForm, upload: UploadForm, engine: Engine
) -> tuple[AskedMaps, GivenPhoto]:
    """What is wanted, and of which photo; what is wanted is checked first.

    Raises:
        TtameError: a class or method that does not exist, or a photo that cannot be read.
        Problem: what is not allowed.
    """
    asked = asked_maps(form, engine.network, engine.settings)
    return asked, given_in(form, upload, engine)


def given_in(
    form: ExplanationForm | PredictionForm, upload: UploadForm, engine: Engine
) -> GivenPhoto:
    """The photo or tensor of a request.

    Raises:
        Problem: neither or both, or not readable.
        ImageError: not readable.
    """
    network = engine.network
    if ("photo" in upload.files) == ("tensor" in upload.files):
        raise Problem(422, "a request needs a 'photo' or a 'tensor'; allowed: one of them, a file")
    if "tensor" in upload.files:
        shape = (network.preprocessing.number_of_channels, *network.preprocessing.input_size)
        return GivenPhoto(network.accept(read_uploaded_tensor(upload.files["tensor"], shape)))
    photo = read_uploaded_photo(upload.files["photo"], engine.settings)
    if form.prepared and photo.size != network.preprocessing.input_size[::-1]:
        height, width = network.preprocessing.input_size
        raise Problem(422, f"'prepared' {photo.width}x{photo.height}; allowed: {width}x{height}")
    return GivenPhoto.of(network, photo, prepared=form.prepared, seen=form.input)


async def _lines(parts: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    """Progress and answer, a line of JSON each; what fails on the way is the last line."""
    try:
        async for part in parts:
            if isinstance(part, bytes):
                yield b'{"answer": ' + part + b"}\n"
                continue
            for method, (finished, total) in part.items():
                told = {"method": method, "finished": finished, "total": total}
                yield json.dumps({"progress": told}).encode() + b"\n"
    except (Problem, TtameError) as problem:
        refused = problem if isinstance(problem, Problem) else problem_of(problem)
        yield json.dumps({"problem": refused.content()}).encode() + b"\n"


class HeldResponse(StreamingResponse):
    """A stream of lines; what it holds is let go when it ends, however it ends.

    Args:
        lines: the lines of the answer.
        held: what is let go.
    """

    def __init__(self, lines: AsyncIterator[bytes], held: ExitStack) -> None:
        super().__init__(lines, media_type="application/x-ndjson")
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        with self._held:
            await super().__call__(scope, receive, send)


def refused(problem: Problem) -> JSONResponse:
    """A problem as a response."""
    headers = {"Cache-Control": "no-store", **problem.headers()}
    return JSONResponse(problem.content(), problem.status, headers, MEDIA_TYPE)
