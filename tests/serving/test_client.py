"""A server on a real socket: the client, a page of OpenAPI, the end, and clients that misbehave."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

import ttame
from tests.serving.tiny_server import content, explainers, photo
from ttame.images.saliency_maps import to_unit_range
from ttame.serving import server
from ttame.serving.app import make_app
from ttame.serving.client import ServerClient, ServerError, form_of
from ttame.serving.served_network import TorchNetwork
from ttame.serving.server import ImpatientProtocol, bound, run_in_thread
from ttame.serving.settings import ServingSettings

LIMITS = ServingSettings(port=0, upload_seconds=1.0, largest_upload=1_000_000, token="sesame")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    app = make_app(TorchNetwork(explainers()), LIMITS)
    where, stop = run_in_thread(app, LIMITS)
    yield where
    stop()


@pytest.fixture
def client(address: str) -> ServerClient:
    return ServerClient(address, token="sesame", seconds=30)


def test_the_client_gets_what_the_library_gets(client: ServerClient, tmp_path: Path) -> None:
    expected = explainers()["grad_cam"](photo(), classes="top2")
    path = tmp_path / "photo.png"
    path.write_bytes(content())
    found = client.explain(path, methods=["grad_cam"], classes=["top2"])
    maps = found.methods["grad_cam"]
    assert [each.index for each in maps] == expected.classes[0].tolist()
    values = np.stack([each.values for each in maps])
    assert np.allclose(values, to_unit_range(expected.maps)[0], atol=1e-3)
    assert found.prediction[0].label == expected.target_label(0, 0)
    files = client.explanation_files(content(), methods=["cam"], classes=[3])
    (tmp_path / "cam").write_bytes(files["cam"])
    assert ttame.Explanation.load(tmp_path / "cam").classes.tolist() == [[3]]
    everything = client.predict(content())
    hidden = client.predict(content(), hide=[(0, 0, 1, 1)])
    assert everything.shape == (7,) and abs(everything - hidden).max() > 1e-4
    assert client.is_ready()
    assert client.classifier()["number_of_classes"] == len(everything)
    assert client.methods()[0]["name"] == "cam"


def test_refusals_reach_the_client_as_errors(client: ServerClient, address: str) -> None:
    with pytest.raises(ServerError, match="not a photo") as found:
        client.explain(b"no photo")
    assert found.value.status == 415
    with pytest.raises(ServerError, match="1 MB") as found:
        client.explain(bytes(3_000_000))
    assert found.value.status == 413
    with pytest.raises(ServerError, match="no valid token"):
        ServerClient(address).methods()
    with bound(ServingSettings(port=0)) as unused:
        port = unused.getsockname()[1]
    assert not ServerClient(f"http://127.0.0.1:{port}").is_ready()


def posted(address: str, **fields: list[str]) -> tuple[socket.socket, bytes]:
    """A connection, and a whole request for it."""
    place = urlsplit(address)
    body, kind = form_of(fields or {"maps": ["none"]}, content())
    head = (
        f"POST /v1/explanations HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: {kind}\r\n"
        f"Authorization: Bearer sesame\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection = socket.create_connection((place.hostname, place.port), timeout=20)
    return connection, head.encode() + body


def test_slow_and_vanishing_clients_are_dealt_with(address: str, client: ServerClient) -> None:
    connection, request = posted(address)
    connection.sendall(request[:-30])
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    assert answer.status == 408
    connection.close()
    for cut in (10, 200, len(request)):
        connection, request = posted(address)
        connection.sendall(request[:cut])
        connection.close()
    connection, _ = posted(address)
    connection.sendall(b"\x00\x01 nonsense \r\n\r\n")
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    assert answer.status == 400 and answer.getheader("content-type") == "application/problem+json"
    assert json.loads(answer.read())["detail"] == "a request that is not HTTP/1.1"
    connection.close()
    assert client.explain(content()).prediction


def closes(connection: socket.socket, word: bytes = b"x") -> bool:
    """Whether the other end gives up while words trickle in."""
    connection.settimeout(20)
    for _ in range(400):
        try:
            connection.sendall(word)
        except OSError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\r\nX: ",
             b"GET /healthz HTTP/1.1\r\n{host}\r\n\r\nGET / HTTP/1.1\r\nX: ",
             b"POST /healthz HTTP/1.1\r\n{host}\r\nContent-Length: 100000\r\n\r\n"],
    ids=["first", "second", "body that nobody reads"],
)  # fmt: skip
def test_words_that_trickle_in_hold_no_connection(
    address: str, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImpatientProtocol, "seconds_between_looks", 0.1)
    place = urlsplit(address)
    with socket.create_connection((place.hostname, place.port), 20) as connection:
        connection.sendall(sent.replace(b"{host}", b"Host: " + place.netloc.encode()))
        assert closes(connection)


def test_an_answer_that_nobody_takes_is_given_up(
    client: ServerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImpatientProtocol, "seconds_between_looks", 0.2)
    ended = threading.Event()

    class Noted(ImpatientProtocol):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            ended.set()

    monkeypatch.setattr(server, "ImpatientProtocol", Noted)
    where, stop = run_in_thread(make_app(TorchNetwork(explainers()), LIMITS), LIMITS)
    fields = {"methods": ["cam"], "classes": ["all"], "maps": ["float16"], "size": ["900x900"]}
    connection, request = posted(where, **fields)
    with connection:
        connection.sendall(request)
        assert ended.wait(30)
        got = 0
        with contextlib.suppress(OSError):
            while part := connection.recv(1 << 20):
                got += len(part)
    stop()
    assert got < 7 * 900 * 900 * 2 * 4 / 3  # What the kernel held, and no more.
    # Whoever reads gets all of it.
    found = client.explain(content(), methods=["cam"], classes=["all"], size="900x900")
    assert len(found.methods["cam"]) == 7


def test_the_end_answers_or_refuses_whatever_was_accepted() -> None:
    settings = ServingSettings(port=0, queue_length=8)
    where, stop = run_in_thread(make_app(TorchNetwork(explainers()), settings), settings)
    begun = threading.Semaphore(0)
    ended = threading.Event()
    outcomes: list[int] = []

    def asking() -> None:
        client = ServerClient(where, seconds=30)
        while not ended.is_set():
            try:
                client.explain(content(), methods=["grad_cam"], classes=["top3"])
                outcomes.append(200)
            except ServerError as problem:
                outcomes.append(problem.status)
                if problem.status == 0:  # Not accepted any more.
                    return
            begun.release()

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(asking) for _ in range(4)]
        for _ in range(8):
            assert begun.acquire(timeout=30)
        begun_at = time.monotonic()
        stop()
        assert time.monotonic() - begun_at < 30
        ended.set()
        for each in waiting:
            each.result(30)
    assert set(outcomes) <= {200, 503, 0}
    assert outcomes.count(200) >= 8


def test_a_connection_too_many_is_told_so() -> None:
    settings = ServingSettings(port=0, queue_length=1)
    where, stop = run_in_thread(make_app(TorchNetwork(explainers()), settings), settings)
    port = int(where.rpartition(":")[2])
    held = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(8 + 64)]
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as late:
            late.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b"".join(iter(lambda: late.recv(4096), b""))  # It is closed afterwards.
        held[0].sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert held[0].recv(4096).startswith(b"HTTP/1.1 200")
    finally:
        for each in held:
            each.close()
        stop()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503") and b"retry-after: 2" in head
    assert json.loads(body)["detail"] == "too many connections; try: again in a moment"


def test_a_port_that_is_taken_is_named() -> None:
    with bound(ServingSettings(port=0)) as taken:
        settings: Any = {"port": taken.getsockname()[1]}
        with pytest.raises(ttame.TtameError, match="cannot listen") as found:
            bound(ServingSettings(**settings))
        assert "port" in found.value.remedy
    with pytest.raises(ttame.TtameError, match="cannot listen"):
        bound(ServingSettings(host="no.such.host.invalid", port=0))
