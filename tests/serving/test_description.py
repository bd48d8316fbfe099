"""The server does what its OpenAPI says: schemathesis asks it what it describes, and what not.

TTAME_EXAMPLES=500 python -m pytest tests/serving/test_description.py asks more.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from hypothesis import strategies as st
from safetensors.torch import save

from tests.serving.tiny_server import content, explainers, photo
from ttame.serving.app import make_app
from ttame.serving.description import body_of
from ttame.serving.hiding import MOST_RECTANGLES
from ttame.serving.requested import LARGEST_SIDE, ExplanationForm
from ttame.serving.served_network import TorchNetwork
from ttame.serving.server import run_in_thread
from ttame.serving.settings import ServingSettings

FEW = 5
EXAMPLES = int(os.environ.get("TTAME_EXAMPLES", FEW))
TOKEN = "Authorization: Bearer sesame"
SIDE = 32
"""Of the network's input; photos of that size may be `prepared`."""

_KINDS = ("jpeg", "png", "webp", "bmp", "gif", "tiff")
_CLASS = st.sampled_from([*map(str, range(7)), *(f"kind {index}" for index in range(7))])
_SHARE = st.floats(0, 1, width=16)
_RECTANGLE = st.fixed_dictionaries(dict.fromkeys(("left", "top", "right", "bottom"), _SHARE))


def teach() -> None:
    """What the description can only name: photos, tensors, and the classes of this network."""
    import schemathesis

    for kind in _KINDS:
        files = [content(photo(seed, (SIDE, SIDE)), kind.upper()) for seed in range(3)]
        schemathesis.openapi.media_type(f"image/{kind}", st.sampled_from(files))
    tensors = [save({"images": torch.full((1, 3, SIDE, SIDE), value)}) for value in (0.0, -1.5)]
    schemathesis.openapi.media_type("application/octet-stream", st.sampled_from(tensors))
    schemathesis.openapi.format("class", _CLASS)
    schemathesis.openapi.format("classes", _CLASS | st.sampled_from(["top1", "top3", "all"]))
    weights = st.dictionaries(_CLASS, st.floats(0.5, 9, width=16), min_size=1, max_size=3)
    schemathesis.openapi.format("class-weights", weights.map(json.dumps))
    rectangles = st.lists(_RECTANGLE, max_size=MOST_RECTANGLES // 8)
    schemathesis.openapi.format("rectangles", rectangles.map(json.dumps))
    schemathesis.hook("filter_case")(may_be_asked)


def may_be_asked(context: Any, case: Any) -> bool:
    """Leaves out what a description cannot rule out: fields that do not fit each other."""
    meta, body = case.meta, case.body
    if not isinstance(body, dict) or meta is None or not meta.generation.mode.is_positive:
        return True
    classes = body.get("classes") or ["top1"]
    other = body.get("rather_than")
    alone = {"top1", "top3", "all"}
    height, _, width = str(body.get("size", "grid")).partition("x")
    return (
        (not width.isdigit() or 7 * int(height) * int(width) <= ServingSettings().most_values)
        and ("photo" in body) != ("tensor" in body)
        and not ("weights" in body and ("classes" in body or other is not None))
        and (other is None or not {other[-1], *alone} & {each[-1] for each in classes})
        and (other is None or not alone & {*classes})
        and (len(classes) == 1 or not alone & {*classes})
        and not ("tensor" in body and body.get("size") == "photo")
    )


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    limits = ServingSettings(port=0, token="sesame", upload_seconds=2)
    where, stop = run_in_thread(make_app(TorchNetwork(explainers()), limits), limits)
    yield where
    stop()


def test_the_description_is_exact_about_what_is_served() -> None:
    form = body_of(ExplanationForm, ["cam", "my.head"])["content"]["multipart/form-data"]
    fields = form["schema"]["properties"]
    methods = fields["methods"]["items"]["pattern"]
    for text, fits in (("cam", True), ("cam,my.head", True), ("my-head", False), ("rise", False)):
        assert bool(re.search(methods, text)) == fits, text
    sides = [*range(12), 99, 100, 999, 1000, 3999, 4000, 4089, 4090, 4095, 4096, 4097, 4100, 9999]
    for side in sides:
        fits = bool(re.search(fields["size"]["pattern"], f"{side}x7"))
        assert fits == (1 <= side <= LARGEST_SIDE), side
    assert "default" not in fields["weights"] and "anyOf" not in fields["rather_than"]
    assert form["encoding"]["photo"]["contentType"].startswith("image/jpeg")


def test_a_token_is_described_where_one_is_asked_for() -> None:
    for token in ("", "sesame"):
        app = make_app(TorchNetwork(explainers()), ServingSettings(token=token))
        content = app.openapi()
        assert ("securitySchemes" in content["components"]) == bool(token)
        methods = content["paths"]["/v1/methods"]["get"]
        assert bool(methods.get("security")) == ("401" in methods["responses"]) == bool(token)
        assert not content["paths"]["/healthz"]["get"].get("security")


def test_it_answers_as_it_describes(address: str) -> None:
    pytest.importorskip("schemathesis")
    teach()  # Before its command is there, which looks once at what is known.
    from schemathesis.cli import schemathesis as command

    asked = [
        "--max-examples",
        str(EXAMPLES),
        "--seed",
        "1",
        "--no-shrink",
        "--suppress-health-check",
        "all",
    ]
    kept = ["--generation-database", "none", "--continue-on-failure", "--no-color"]
    answer = CliRunner().invoke(
        command, ["run", f"{address}/openapi.json", "--header", TOKEN, *asked, *kept]
    )
    if EXAMPLES > FEW:
        print(answer.output)
    assert answer.exit_code == 0, answer.output
    assert "Operations:       7 selected" in answer.output
