"""Skipped without OpenVINO, which is an extra."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from ttame.errors import ExplainerError, MissingExtraError, OutputError
from ttame.explainers.trained.attention_explainer import AttentionExplainer, new_attention_explainer
from ttame.explainers.trained.head_settings import SharedHeadSettings
from ttame.exporting import openvino_format
from ttame.exporting.export_explainer import export_explainer
from ttame.exporting.exported_facts import ExportedFacts
from ttame.exporting.graph_formats import run_onnx
from ttame.exporting.openvino_format import openvino_files, run_openvino
from ttame.exporting.parity import inputs_of, pixels_of
from ttame.testing import tiny_classifier


def test_the_files_say_what_the_onnx_file_says(
    exported: tuple[Path, ExportedFacts], explainer: AttentionExplainer, photos: list[Image.Image]
) -> None:
    openvino = pytest.importorskip("openvino")
    content = exported[0].read_bytes()
    files = openvino_files(content, '{"facts": "größer"}')
    run, plain = run_openvino(files), run_onnx(content)
    for photo in photos:
        given = inputs_of(pixels_of(photo, explainer.classifier)[None], exported[1])
        found, expected = run(given), plain(given)
        assert list(found) == list(expected)
        for name in found:
            assert found[name].dtype == expected[name].dtype
            assert np.allclose(found[name], expected[name], atol=1e-5), name
    model = openvino.Core().read_model(files.graph, files.weights)
    assert model.get_rt_info(["ttame"]).astype(str) == '{"facts": "größer"}'


def test_bytes_that_are_no_graph_are_refused() -> None:
    pytest.importorskip("openvino")
    model = onnx.ModelProto()
    with pytest.raises(ExplainerError, match="OpenVINO cannot read"):
        openvino_files(model.SerializeToString(), "{}")


def test_without_openvino_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r'pip install "ttame\[openvino\]"'):
        openvino_format.openvino_files(b"", "{}")


def test_names_of_openvino_files_are_checked_first(
    explainer: AttentionExplainer, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match=r"allowed: NAME\.xml"):
        export_explainer(explainer, tmp_path / "why", format="openvino")
    (tmp_path / "why.bin").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"why\.bin exists"):
        export_explainer(explainer, tmp_path / "why.xml", format="openvino")
    assert (tmp_path / "why.bin").read_bytes() == b"mine"


def test_maps_of_tokens_are_those_of_pytorch(tmp_path: Path, photos: list[Image.Image]) -> None:
    """Output projections are square, and used as they are and transposed."""
    pytest.importorskip("openvino")
    explainer = new_attention_explainer(tiny_classifier("vit", size=32), SharedHeadSettings())
    facts = export_explainer(explainer, tmp_path / "why.xml", format="openvino", photos=photos)
    assert facts.parity["maps"] < 1e-4
