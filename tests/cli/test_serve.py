"""``ttame serve``: what it serves, what it says first, and what it refuses."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.cli.test_commands import TINY_NETWORK, run
from tests.serving.tiny_server import content, photo, sent
from tests.tiny_networks import tiny_cnn
from ttame.explainers.known_explainers import make_explainer
from ttame.exporting.export_explainer import export_explainer
from ttame.images.saliency_maps import to_unit_range
from ttame.results.explained_photos import ExplainedPhotos
from ttame.results.explanation import Explanation
from ttame.serving import server


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The application that the command runs, instead of running it."""
    found: list[Any] = []

    def run_app(app: Any, settings: Any, listening: Any, began: Any) -> None:
        found.append(app)
        began()

    monkeypatch.setattr(server, "run_app", run_app)
    return found


def test_it_says_what_it_serves_to_whom_and_within_which_limits(
    served: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["serve", *TINY_NETWORK, "--weights", "none", "--port", "0", "--queue-length", "9"]
    assert run([*arguments, "--methods", "grad_cam,layer_cam"], monkeypatch) == 0
    said = capsys.readouterr().out
    assert "by grad_cam, layer_cam" in said and "9 requests, then 503" in said
    assert "127.0.0.1: only this machine reaches it" in said
    assert "ready: http://127.0.0.1:" in said
    assert served[0].state.engine.settings.queue_length == 9
    assert run([*arguments, "--host", "0.0.0.0", "--token", "sesame"], monkeypatch) == 0
    said = capsys.readouterr().out
    assert "every machine that reaches this address" in said and "sesame" not in said
    assert "give it a --token" not in said
    # Without a method, what suits the network is offered.
    offered = [*served[1].state.engine.network.methods]
    assert offered[0] == "grad_cam" and offered[-2:] == ["layer_cam", "rise"]
    assert "generic_attention" not in offered  # This network has no attention.
    # Options of what is offered without being named.
    assert run([*arguments, "--option", "rise.masks=50"], monkeypatch) == 0
    assert served[2].state.engine.network.methods["rise"].options["masks"] == 50
    assert run([*arguments, "--option", "generic_attention.layer=x"], monkeypatch) == 2


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["--queue-length", "0"], "--queue-length 0"),
        (["--time-limit", "-1"], "--time-limit -1.0"),
        (["--time-limit", "nan"], "--time-limit nan"),
        (["--most-pixels", "inf"], "--most-pixels 0"),
        (["--host", ""], "an empty host"),
        (["--host", "no.such.host.invalid"], "cannot listen"),
        (["--methods", "gradcam"], "try: grad_cam"),
        (["--model", "minilm_reviews"], 'try: ttame explain --model minilm_reviews --text "..."'),
        (["--explainer", "nothing.onnx"], "cannot be read as an exported explainer"),
    ],
)
def test_what_cannot_be_served_is_refused_in_one_line(
    served: list[Any],
    typed: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["serve", "--port", "0", *typed], monkeypatch) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not served


def test_what_is_not_installed_is_named(
    served: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "python_multipart", None)
    assert run(["serve", "--port", "0"], monkeypatch) == 2
    error = capsys.readouterr().err
    assert 'pip install "ttame[serve]"' in error and "python-multipart" in error
    assert error.count("\n") == 1


def test_an_exported_file_is_served_as_the_explainer_is(
    served: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explainer = make_explainer("cam", tiny_cnn())
    export_explainer(explainer, tmp_path / "why.onnx", top_k="all")
    place = str(tmp_path / "why.onnx")
    assert run(["serve", "--port", "0", "--explainer", place], monkeypatch) == 0
    with TestClient(served[0], base_url="http://localhost") as client:
        assert served[0].state.engine.wait_until_ready(60)
        fields = {"photo": content(), "maps": "float16"}
        said = sent(client, **fields, classes=["top2"]).json()
        expected = explainer(photo(), classes="top2")
        maps = said["explanations"][0]["classes"]
        assert [each["index"] for each in maps] == expected.classes[0].tolist()
        assert np.allclose(
            [each["highest"] for each in maps], expected.maps.amax((2, 3))[0], atol=1e-4
        )
        assert sent(client, **fields, size="photo").status_code == 200
        whole = sent(client, "/v1/predictions", photo=content()).json()
        assert np.allclose(whole["probabilities"], expected.probabilities[0], atol=1e-5)
        covered = json.dumps([{"left": 0, "top": 0, "right": 1, "bottom": 1}])
        hidden = sent(client, "/v1/predictions", photo=content(), hide=covered).json()
        assert hidden["hidden_share"] == 1 and hidden["probabilities"] != whole["probabilities"]
        refused = sent(client, **fields, classes=["1"], rather_than="2")
        assert refused.status_code == 422


def test_the_command_that_explains_and_the_server_give_the_same_map(
    served: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so does Python; the page draws the numbers of the server (test_page.py)."""
    (tmp_path / "photo.png").write_bytes(content())
    network = [*TINY_NETWORK, "--weights", "none", "--methods", "grad_cam"]
    out = str(tmp_path / "out")
    explaining = ["explain", str(tmp_path / "photo.png"), *network, "--classes", "3", "--out", out]
    assert run(explaining, monkeypatch) == 0
    assert run(["serve", "--port", "0", *network], monkeypatch) == 0
    (row,) = ExplainedPhotos.read(out).rows()
    written = Explanation.load(tmp_path / "out" / row.files["maps"]["grad_cam"])
    with TestClient(served[0], base_url="http://localhost") as client:
        assert served[0].state.engine.wait_until_ready(60)
        fields = {"photo": content(), "classes": ["3"], "maps": "float16"}
        (found,) = sent(client, **fields).json()["explanations"][0]["classes"]
    assert found["label"] == written.target_label(0, 0)
    values = np.frombuffer(base64.b64decode(found["float16"]), "<f2")
    assert np.allclose(values, to_unit_range(written.maps).flatten(), atol=1e-3)
    assert found["highest"] == pytest.approx(float(written.maps.max()), rel=1e-4)
