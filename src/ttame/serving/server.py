"""Running the application with uvicorn, and ending it without losing a request."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
import threading
from collections.abc import Callable
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.supervisors import Multiprocess

from ttame.errors import TtameError, setting
from ttame.serving.guard import refuse_connection, unreadable
from ttame.serving.request_log import log_to
from ttame.serving.settings import ServingSettings

_CONNECTIONS_PER_REQUEST = 8


class ImpatientProtocol(H11Protocol):
    """HTTP that does not wait forever: neither for a request, nor until an answer is taken.

    Every while it looks at its connection. One on which no request is worked on is closed, however
    slowly the words of the next one trickle in; so is one whose client does not take the answer.
    A connection too many, and what is no request, are told so as everything else is, not in
    uvicorn's plain text.
    """

    seconds_between_looks = 15.0
    least_taken = 250_000
    """Bytes of an answer that a client takes from one look to the next."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._most, self.limit_concurrency = self.limit_concurrency, None
        self._seen: Any = None
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin, and look at it from time to time."""
        super().connection_made(transport)
        if self._most is not None and len(self.connections) > self._most:
            self.app = refuse_connection
        self._timer = self.loop.call_later(self.seconds_between_looks, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, unless another answer is under way, and end."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(unreadable())
        self.transport.close()

    def _should_upgrade(self) -> bool:
        return False  # Nothing but HTTP/1.1 is spoken; whoever asks for more gets that.

    def _look(self) -> None:
        waiting = self.transport.get_write_buffer_size()
        same = self.cycle is self._seen
        if same and min(waiting, self._waiting) and self._waiting - waiting < self.least_taken:
            self.transport.abort()
            return
        if same and not waiting and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()
        self._seen, self._waiting = self.cycle, waiting
        self._timer = self.loop.call_later(self.seconds_between_looks, self._look)


def bound(settings: ServingSettings) -> socket.socket:
    """A socket that listens where the settings say; on a free port, if they say port 0.

    Raises:
        TtameError: the port is taken, or there is no such address here.

    Example:
        >>> with bound(ServingSettings(port=0)) as listening:
        ...     listening.getsockname()[0]
        '127.0.0.1'
    """
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, *_, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=1024)
    except (OSError, OverflowError, UnicodeError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        raise TtameError(
            f"cannot listen on {settings.host} port {settings.port} ({reason})",
            remedy=f"another {setting('port')}",
        ) from problem


def run_app(
    app: Any, settings: ServingSettings, listening: socket.socket, began: Callable[[], None]
) -> None:
    """Run an application in this process until SIGTERM or Ctrl-C.

    Then nothing new is accepted, and what was accepted is answered, within ``shutdown_seconds``.

    Args:
        app: the app of :func:`ttame.serving.app.make_app`.
        settings: the settings of the server.
        listening: of :func:`bound`.
        began: called when requests are answered; in another thread.
    """
    log_to()

    def wait() -> None:
        if app.state.engine.wait_until_ready(600):
            began()

    threading.Thread(target=wait, daemon=True).start()
    uvicorn.Server(_configured(app, settings)).run(sockets=[listening])


def run_workers(
    factory: str, workers: int, settings: ServingSettings, listening: socket.socket
) -> None:
    """Run several processes, each with an application and a network of its own.

    Args:
        factory: ``package.module:function`` that makes the application of one process.
        workers: how many processes.
        settings: the settings of the server.
        listening: of :func:`bound`; the processes share it.
    """
    log_to()
    config = _configured(factory, settings, factory=True, workers=workers)
    with tempfile.TemporaryDirectory(prefix="ttame-metrics-") as folder:
        # Where prometheus_client adds up the counts of several processes.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        Multiprocess(config, sockets=[listening]).run()


def _configured(app: Any, settings: ServingSettings, **more: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=ImpatientProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS_PER_REQUEST * settings.queue_length + 64,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=settings.shutdown_seconds,
        **more,
    )


def run_in_thread(app: Any, settings: ServingSettings) -> tuple[str, Callable[[], None]]:
    """Run an application alongside other work, for tests and measurements.

    Args:
        app: the app of :func:`ttame.serving.app.make_app`.
        settings: the settings of the server; with port 0 it takes a free one.

    Returns:
        Its address, and what ends it.
    """
    listening = bound(settings)
    server = uvicorn.Server(_configured(app, settings))
    thread = threading.Thread(
        target=lambda: asyncio.run(server.serve(sockets=[listening])), daemon=True
    )
    thread.start()
    app.state.engine.wait_until_ready(120)

    def stop() -> None:
        server.should_exit = True
        thread.join(60)

    return f"http://127.0.0.1:{listening.getsockname()[1]}", stop
