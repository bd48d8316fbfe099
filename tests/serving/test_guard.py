"""Who may ask, what every answer carries, and what the log says."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.serving.tiny_server import content, refusal, sent, serving
from ttame.explainers.known_explainers import make_explainer
from ttame.serving.app import make_app
from ttame.serving.guard import SECURITY_HEADERS, refuse_strangers
from ttame.serving.problems import Problem
from ttame.serving.request_log import log_to
from ttame.serving.served_network import TorchNetwork
from ttame.serving.settings import ServingSettings
from ttame.testing import tiny_classifier


def scope(path: str = "/v1/methods", method: str = "GET", **headers: str) -> dict[str, Any]:
    pairs = [(k.replace("_", "-").encode(), v.encode("latin-1")) for k, v in headers.items()]
    return {"path": path, "method": method, "headers": pairs}


def status(settings: ServingSettings, **request: Any) -> int:
    try:
        refuse_strangers(scope(**request), settings)
    except Problem as problem:
        return problem.status
    return 200


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost:8000", 200), ("127.0.0.1", 200), ("[::1]:8000", 200), ("evil.example", 421),
     ("127.0.0.1.evil.example", 421), ("[", 421), ("", 421), ("evil@127.0.0.1", 200)],
)  # fmt: skip
def test_a_local_server_answers_to_local_names_only(host: str, expected: int) -> None:
    assert status(ServingSettings(), host=host) == expected
    assert status(ServingSettings(host="0.0.0.0"), host="photos.example") == 200


def test_requests_for_other_pages_are_refused_unless_they_were_allowed() -> None:
    settings = ServingSettings(origins=("https://good.example",))
    cross = {"method": "POST", "host": "localhost", "sec_fetch_site": "cross-site"}
    assert status(settings, **cross, origin="https://evil.example") == 403
    assert status(settings, **cross, origin="https://good.example") == 200
    assert status(settings, **{**cross, "sec_fetch_site": "same-origin"}) == 200


@pytest.mark.parametrize(
    ("origin", "expected"),
    [("https://evil.example", 403), ("null", 403), ("http://127.0.0.1:9000", 403),
     ("http://127.0.0.1:8000", 200), ("https://good.example", 200)],
)  # fmt: skip
def test_a_browser_that_names_only_the_origin_is_believed(origin: str, expected: int) -> None:
    """Chromium says where a page is from only to this machine and over TLS, old ones never."""
    for settings in (
        ServingSettings(origins=("https://good.example",)),
        ServingSettings(host="0.0.0.0", origins=("https://good.example",)),
    ):
        asked = {"method": "POST", "host": "127.0.0.1:8000", "origin": origin}
        assert status(settings, **asked) == expected
        assert status(settings, **{**asked, "method": "GET"}) == 200


def test_a_token_is_asked_for_where_there_is_one() -> None:
    settings = ServingSettings(token="sesame")
    assert status(settings) == 401
    assert status(settings, authorization="Bearer sesam") == 401
    assert status(settings, authorization="Bearer sesame") == 200
    assert status(settings, authorization="Bearer sésame") == 401
    for path in ("/healthz", "/readyz", "/", "/static/serve.js"):
        assert status(settings, path=path) == 200
    for path in ("/metrics", "/openapi.json", "/v1/classifier"):
        assert status(settings, path=path) == 401
    assert "sesame" not in repr(settings)


def test_the_page_of_a_server_with_a_token_names_nothing() -> None:
    network = TorchNetwork({"cam": make_explainer("cam", tiny_classifier())})
    client = TestClient(
        make_app(network, ServingSettings(token="sesame")), base_url="http://localhost"
    )
    assert "tiny cnn" not in client.get("/").text
    answer = client.get("/v1/classifier")
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert refusal(answer).startswith("no valid token")
    own = {"Authorization": "Bearer sesame"}
    assert client.get("/v1/classifier", headers=own).json()["name"] == "tiny cnn"


def test_every_answer_carries_the_headers_and_nothing_is_allowed_inline() -> None:
    network = TorchNetwork({"cam": make_explainer("cam", tiny_classifier())})
    client = TestClient(
        make_app(network, ServingSettings()),
        base_url="http://localhost",
        raise_server_exceptions=False,
    )
    for path in ("/", "/healthz", "/nothing", "/static/serve.css", "/openapi.json"):
        headers = client.get(path).headers
        assert {headers[name] for name in SECURITY_HEADERS} == set(SECURITY_HEADERS.values())
        assert "access-control-allow-origin" not in headers
    assert client.head("/").status_code == client.head("/healthz").status_code == 200
    assert client.head("/v1/explanations").headers["allow"] == "POST"
    assert "unsafe" not in SECURITY_HEADERS["Content-Security-Policy"]
    page = client.get("/").text
    assert "style=" not in page and "onclick=" not in page and "http://" not in page
    before = {"Origin": "https://good.example", "Access-Control-Request-Method": "POST"}
    assert client.options("/v1/explanations", headers=before).status_code == 405
    allowed = make_app(network, ServingSettings(origins=("https://good.example",), token="t"))
    answer = TestClient(allowed, base_url="http://localhost").options(
        "/v1/explanations", headers=before
    )
    assert answer.headers["access-control-allow-origin"] == "https://good.example"


def test_the_log_is_lines_of_json_and_says_nothing_that_was_sent() -> None:
    stream = io.StringIO()
    log_to(stream)
    try:
        with serving() as client:
            sent(client, photo=content(), classes=["kind 3"], maps="none")
            client.get("/secret/%3Cscript%3E")
    finally:
        log_to()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(each["route"], each["status"]) for each in lines if each["event"] == "request"] == [
        ("/v1/explanations", 200),
        ("none", 404),
    ]
    for word in ("kind 3", "PNG", "secret", "script"):
        assert word not in stream.getvalue()
