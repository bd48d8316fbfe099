from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from ttame.errors import ExplainerError
from ttame.explainers.trained.attention_explainer import AttentionExplainer
from ttame.exporting.exported_facts import ExportedFacts
from ttame.exporting.graph_formats import run_onnx
from ttame.exporting.int8_graph import int8_graph, kept_in_float
from ttame.exporting.onnx_contents import onnx_contents, with_facts
from ttame.exporting.parity import inputs_of, pixels_of


def test_pixels_maps_and_shared_weights_stay_in_float() -> None:
    """pixels - Sub - MatMul 'first' - Relu - MatMul 'last' - logits; maps use 'last' weights."""
    weights = [
        numpy_helper.from_array(np.ones((3, 3), np.float32), name) for name in ("first", "last")
    ]
    mean = numpy_helper.from_array(np.ones(3, np.float32), "mean")
    nodes = [
        helper.make_node("Sub", ["pixels", "mean"], ["normalised"], "normalise"),
        helper.make_node("MatMul", ["normalised", "first"], ["a"], "features"),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("MatMul", ["b", "last"], ["logits"], "head"),
        helper.make_node("MatMul", ["a", "last"], ["maps"], "evidence"),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3])
        for name in ("pixels", "logits", "maps")
    ]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [*weights, mean])
    assert kept_in_float(graph) == {"normalise", "head", "evidence"}


def test_the_file_is_smaller_and_says_nearly_the_same(
    exported: tuple[Path, ExportedFacts],
    explainer: AttentionExplainer,
    photos: list[Image.Image],
) -> None:
    content = exported[0].read_bytes()
    facts = exported[1]
    graph = onnx.load_from_string(content)
    del graph.metadata_props[:]
    pixels = [pixels_of(photo, explainer.classifier)[None] for photo in photos]
    given = [inputs_of(each, facts) for each in pixels]
    rounded = int8_graph(graph.SerializeToString(), given)
    # Nothing but ONNX's own operators, and no mark of the tool.
    found = onnx_contents(with_facts(rounded, "{}"))
    assert "QuantizeLinear" in found.operators
    assert not onnx.load_from_string(rounded).metadata_props
    run, exact = run_onnx(rounded), run_onnx(content)
    for each in given:
        logits, expected = (torch.from_numpy(which(each)["logits"]) for which in (run, exact))
        difference = float((logits - expected).abs().max() / expected.abs().max())
        assert 1e-6 < difference < 0.1


def test_a_graph_that_cannot_be_rounded_is_one_line() -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["pixels"], ["logits"], "n")],
        "g",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    with pytest.raises(ExplainerError, match="cannot round"):
        int8_graph(model.SerializeToString(), [{"other": np.zeros(1, np.float32)}])
