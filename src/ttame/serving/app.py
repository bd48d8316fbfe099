"""The application: routes, page, guard, and what happens at its start and end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect

from ttame.errors import TtameError
from ttame.serving.api import api_routes, refused
from ttame.serving.batching import AbandonedError, QueueFullError
from ttame.serving.description import describing
from ttame.serving.engine import Engine
from ttame.serving.guard import FREE, Guard
from ttame.serving.monitoring import Monitoring
from ttame.serving.page import page_routes
from ttame.serving.problems import Problem, problem_of
from ttame.serving.served_network import ServedNetwork
from ttame.serving.settings import ServingSettings
from ttame.serving.waiting import GONE
from ttame.version import __version__


def make_app(
    network: ServedNetwork, settings: ServingSettings, samples: Sequence[Path] = ()
) -> FastAPI:
    """An ASGI application that explains one network.

    It is ready a moment after it starts, when the network and every method were tried once.

    Args:
        network: to explain.
        settings: the limits.
        samples: photos that the page offers.

    Example:
        >>> from ttame.explainers.methods.activation.cam import Cam
        >>> from ttame.serving.served_network import TorchNetwork
        >>> from ttame.testing import tiny_classifier
        >>> app = make_app(TorchNetwork({"cam": Cam(tiny_classifier())}), ServingSettings())
        >>> app.title
        'ttame'
    """
    monitoring = Monitoring()
    engine = Engine(network, settings, monitoring)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine.start()
        yield
        engine.close()

    app = FastAPI(
        title="ttame",
        version=__version__,
        description="Explain an image classifier: why did it say that?",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        exception_handlers=_handlers(),
    )
    app.include_router(api_routes(engine, monitoring))
    app.include_router(page_routes(engine, samples))
    app.openapi = describing(app, settings, FREE)  # type: ignore[method-assign]
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization"],
        )
    app.add_middleware(Guard, settings=settings, monitoring=monitoring)
    app.state.engine = engine
    return app


def _handlers() -> dict[Any, Any]:
    async def of_problem(request: Request, problem: Exception) -> JSONResponse:
        return refused(_as_problem(problem))

    kinds = (Problem, TtameError, HTTPException, RequestValidationError, ClientDisconnect)
    return dict.fromkeys((*kinds, QueueFullError, AbandonedError, Exception), of_problem)


def _as_problem(problem: Exception) -> Problem:
    if isinstance(problem, Problem):
        return problem
    if isinstance(problem, TtameError):
        return problem_of(problem)
    if isinstance(problem, HTTPException):
        allow = (problem.headers or {}).get("Allow", "")
        detail = "another method than the address takes" if allow else "no such page"
        return Problem(problem.status_code, detail, allow=allow)
    if isinstance(problem, ClientDisconnect | AbandonedError):
        return GONE
    if isinstance(problem, QueueFullError):
        return Problem(503, "the server stops", retry_after=5)
    if isinstance(problem, RequestValidationError):
        return Problem(422, "something in the address cannot be read")
    return Problem(500, "something went wrong here; the log says what")
