"""A server of a tiny network, in this process and without a socket."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from tests.tiny_networks import tiny_cnn
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.known_explainers import make_explainer
from ttame.serving.app import make_app
from ttame.serving.served_network import TorchNetwork
from ttame.serving.settings import ServingSettings


def explainers() -> dict[str, Explainer]:
    """A quick method, one with a backward pass per class, one per pixel, one with many passes."""
    classifier = tiny_cnn()
    options: dict[str, dict[str, Any]] = {"rise": {"masks": 16}}
    names = ("cam", "grad_cam", "input_x_gradient", "rise")
    return {name: make_explainer(name, classifier, **options.get(name, {})) for name in names}


def photo(seed: int = 0, size: tuple[int, int] = (60, 40)) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(values).resize(size, Image.Resampling.BICUBIC)


def content(picture: Image.Image | None = None, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    (picture or photo()).save(stream, kind, **options)
    return stream.getvalue()


@contextmanager
def serving(**settings: Any) -> Iterator[TestClient]:
    app = make_app(TorchNetwork(explainers()), ServingSettings(**settings))
    with TestClient(app, base_url="http://localhost") as client:
        assert app.state.engine.wait_until_ready(60)
        yield client


def sent(client: TestClient, path: str = "/v1/explanations", **fields: Any) -> Any:
    """Post a form; bytes are files, and of a list each entry is a field."""
    parts: list[tuple[str, Any]] = []
    for name, value in fields.items():
        entries = value if isinstance(value, list) else [value]
        parts += [
            (name, (name, each) if isinstance(each, bytes) else (None, each)) for each in entries
        ]
    return client.post(path, files=parts or [("top", (None, "3"))])


def refusal(answer: Any) -> str:
    """What a refused request is told, as problem+json."""
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert set(problem) == {"type", "title", "status", "detail"}
    return str(problem["detail"])
