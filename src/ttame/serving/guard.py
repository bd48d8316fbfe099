"""What stands before every request: who may ask, what every answer carries, and the log."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ttame.serving.monitoring import Monitoring
from ttame.serving.problems import MEDIA_TYPE, Problem
from ttame.serving.request_log import LOG
from ttame.serving.settings import ServingSettings

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
"""On every answer."""

_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

FREE = ("/healthz", "/readyz")
"""Routes that need no token: probes."""

_OPEN = (*FREE, "/static/", "/samples/")
"""Those, and what the page is made of."""


class Guard:
    """Checks requests and finishes answers.

    Args:
        app: that answers.
        settings: who may ask.
        monitoring: counts the answers.
    """

    def __init__(self, app: ASGIApp, settings: ServingSettings, monitoring: Monitoring) -> None:
        self._app = app
        self._settings = settings
        self._monitoring = monitoring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answering = _Answering(send)
        begun = time.perf_counter()
        if scope["method"] == "HEAD":  # What GET is answered with; the server leaves the body out.
            scope = {**scope, "method": "GET"}
        try:
            refuse_strangers(scope, self._settings)
            await self._app(scope, receive, answering.send)
        except Problem as problem:
            await answering.refuse(problem)
        except asyncio.CancelledError:
            # The server stops, and its patience has ended: refused, not lost.
            await answering.refuse(Problem(503, "the server stops", retry_after=5))
        except Exception:
            LOG.exception("a request failed")
            await answering.refuse(Problem(500, "something went wrong here; the log says what"))
        finally:
            self._note(scope, answering.status, time.perf_counter() - begun)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "") or "none"
        self._monitoring.count(route, status, seconds)
        if route not in ("/healthz", "/readyz", "/metrics"):
            told = {"method": scope["method"][:10], "route": route, "status": status}
            LOG.info("request", extra={**told, "ms": round(1000 * seconds, 1)})


class _Answering:
    """The answer to one request, as far as it was sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            there = {name.lower() for name, _ in message["headers"]}
            message["headers"] = [
                *message["headers"],
                *(
                    (name.lower().encode(), value.encode())
                    for name, value in SECURITY_HEADERS.items()
                    if name.lower().encode() not in there
                ),
            ]
        await self._send(message)

    async def refuse(self, problem: Problem, more: Mapping[str, str] | None = None) -> None:
        """Answer with a problem, and more headers, unless an answer has begun."""
        if self.status:
            return
        body = json.dumps(problem.content()).encode()
        headers = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(body))}
        headers |= {"Cache-Control": "no-store", **problem.headers(), **(more or {})}
        await self.send(
            {
                "type": "http.response.start",
                "status": problem.status,
                "headers": [
                    (name.lower().encode(), text.encode()) for name, text in headers.items()
                ],
            }
        )
        await self.send({"type": "http.response.body", "body": body})


def unreadable() -> bytes:
    """The whole answer to what is no request, for a connection that ends with it."""
    body = json.dumps(Problem(400, "a request that is not HTTP/1.1").content()).encode()
    headers = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(body)), "Connection": "close"}
    lines = [f"{name}: {text}" for name, text in {**headers, **SECURITY_HEADERS}.items()]
    return "\r\n".join(["HTTP/1.1 400 Bad Request", *lines, "", ""]).encode() + body


async def refuse_connection(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request of a connection too many, and close the connection."""
    LOG.warning("too many connections")
    problem = Problem(503, "too many connections; try: again in a moment", retry_after=2)
    await _Answering(send).refuse(problem, {"Connection": "close"})


def refuse_strangers(scope: Mapping[str, Any], settings: ServingSettings) -> None:
    """Raise unless a request may be answered.

    A server of this machine answers to this machine's names only, so that no page elsewhere can
    reach it under a name of its own; and no request that a browser sends for another page is
    answered, except for pages that were allowed.

    Raises:
        Problem: 401, 403 or 421.

    Example:
        >>> refuse_strangers({"path": "/", "method": "GET", "headers": []}, ServingSettings())
    """
    headers = {name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]}
    host = urlsplit("//" + headers.get("host", "localhost")).hostname if _plain(headers) else ""
    if settings.is_local and host not in {*_LOCAL_NAMES, settings.host}:
        raise Problem(421, "a name that is not of this machine; allowed: localhost or 127.0.0.1")
    if scope["method"] == "POST" and _is_for_another_page(headers, settings):
        raise Problem(403, "a request for another page; allowed: pages that the server was told of")
    if scope["method"] != "OPTIONS" and _needs_token(scope["path"], settings):
        given = headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {settings.token}".encode()):
            raise Problem(401, "no valid token; allowed: Authorization: Bearer TOKEN")


def _is_for_another_page(headers: Mapping[str, str], settings: ServingSettings) -> bool:
    """Whether a browser sends it on behalf of a page that is neither ours nor allowed.

    Older browsers, and all of them where neither TLS nor this machine is at the other end, do not
    say where a page is from; but they name its origin.
    """
    origin = headers.get("origin", "")
    if origin in settings.origins:
        return False
    site = headers.get("sec-fetch-site", "")
    if origin and not site:
        site = _site_of(origin, headers.get("host", ""))
    return site not in ("", "same-origin", "none")


def _site_of(origin: str, host: str) -> str:
    return "same-origin" if origin.partition("://")[2].lower() == host.lower() else "cross-site"


def _plain(headers: Mapping[str, str]) -> bool:
    """Whether the host can be read: no brackets or ports that mean nothing."""
    try:
        urlsplit("//" + headers.get("host", "localhost")).hostname  # noqa: B018
    except ValueError:
        return False
    return True


def _needs_token(path: str, settings: ServingSettings) -> bool:
    return bool(settings.token) and path != "/" and not path.startswith(_OPEN)
