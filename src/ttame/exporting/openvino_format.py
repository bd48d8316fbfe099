"""Writing an exported graph as OpenVINO's two files, and running them."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ttame.errors import ExplainerError
from ttame.exporting.graph_formats import Arrays, Run, require
from ttame.exporting.onnx_contents import FACTS_KEY
from ttame.networks.network_trace import first_line

PRECISION = {"INFERENCE_PRECISION_HINT": "f32"}
"""Without it OpenVINO computes in bfloat16 where the processor can, float32 graphs too."""


@dataclasses.dataclass(frozen=True)
class OpenVinoFiles:
    """An OpenVINO model: ``why.xml``, the graph, and ``why.bin`` next to it, the weights."""

    graph: bytes
    weights: bytes


def openvino_files(onnx_graph: bytes, facts: str) -> OpenVinoFiles:
    """Turn an ONNX graph into OpenVINO's files, with facts among the graph's ``rt_info``.

    Raises:
        MissingExtraError: ``openvino`` is missing.
        ExplainerError: an operator that OpenVINO lacks.
    """
    require("openvino", extra="openvino", purpose="OpenVINO files")
    import openvino

    try:
        model = openvino.Core().read_model(onnx_graph)
    except Exception as problem:  # it raises errors of many kinds
        raise ExplainerError(f"OpenVINO cannot read the graph ({first_line(problem)})") from problem
    model.set_rt_info(facts, [FACTS_KEY])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "why.xml"
        openvino.save_model(model, path, compress_to_fp16=False)
        return OpenVinoFiles(path.read_bytes(), path.with_suffix(".bin").read_bytes())


def run_openvino(files: OpenVinoFiles) -> Run:
    """Run OpenVINO's files that this process has just written, on the CPU, in float32."""
    import openvino

    core = openvino.Core()
    model = core.compile_model(core.read_model(files.graph, files.weights), "CPU", PRECISION)
    names = [result.get_any_name() for result in model.outputs]

    def run(inputs: Mapping[str, np.ndarray]) -> Arrays:
        results = model(dict(inputs))
        return {name: np.array(results[name]) for name in names}

    return run
