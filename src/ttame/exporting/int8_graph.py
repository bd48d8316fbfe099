"""Rounding the network of an exported graph to 8 bits, with ONNX Runtime's own tools."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ttame.errors import ExplainerError
from ttame.exporting.graph_formats import require
from ttame.networks.network_trace import first_line

_WITH_WEIGHTS = ("Conv", "Gemm", "MatMul")
_MARK = ("onnx.quant.pre_process", "onnxruntime.quant")
"""What the tool looks for before it advises to fold batch norms, which the converter has done."""


def int8_graph(graph: bytes, calibration: Sequence[Mapping[str, np.ndarray]]) -> bytes:
    """Round weights and features of the network to 8 bits; the maps are made in float32.

    Weights get one scale per output channel. The range of each layer's output is the one that it
    has on the given inputs. Everything behind the network stays as it is, and so do the layers
    whose weights the maps are made of, such as the last linear layer of the few-shot head.

    Args:
        graph: an ONNX file, without facts.
        calibration: inputs by name, one photo each.

    Returns:
        An ONNX file with ONNX's own ``QuantizeLinear`` and ``DequantizeLinear``.

    Raises:
        MissingExtraError: ``onnx`` or ``onnxruntime`` is missing.
        ExplainerError: ONNX Runtime cannot do it.
    """
    require("onnx", "onnxruntime")
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    model = onnx.load_from_string(graph)
    kept = kept_in_float(model.graph)
    model.metadata_props.add(key=_MARK[0], value=_MARK[1])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        try:
            quantize_static(
                model,
                os.fspath(path),
                _reader(calibration),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=sorted(kept),
            )
        except Exception as problem:  # the tool raises errors of many kinds
            raise ExplainerError(
                f"ONNX Runtime cannot round this network to 8 bits ({first_line(problem)})"
            ) from problem
        rounded = onnx.load(path)
    del rounded.metadata_props[:]
    content: bytes = rounded.SerializeToString(deterministic=True)
    return content


def kept_in_float(graph: Any) -> set[str]:
    """The nodes that stay as they are, by name.

    Those are the nodes on which the logits do not depend, those before the first weights (which
    normalise pixels), and those whose weights a node behind the network uses as well.

    Args:
        graph: a graph of the ``onnx`` package, with a result ``logits``.
    """
    network = _ancestors(graph, "logits")
    matrices = {tensor.name for tensor in graph.initializer if len(tensor.dims) > 1}
    outside = {name for node in graph.node if node.name not in network for name in node.input}
    behind_weights: set[str] = set()
    kept = set()
    for node in graph.node:
        if node.op_type in _WITH_WEIGHTS or behind_weights & set(node.input):
            behind_weights |= set(node.output)
        else:
            kept.add(node.name)
        if node.name not in network or matrices & outside & set(node.input):
            kept.add(node.name)
    return kept


def _ancestors(graph: Any, result: str) -> set[str]:
    """The nodes that a result depends on."""
    made_by = {name: node for node in graph.node for name in node.output}
    found: set[str] = set()
    waiting = [result]
    while waiting:
        node = made_by.get(waiting.pop())
        if node is not None and node.name not in found:
            found.add(node.name)
            waiting += node.input
    return found


def _reader(calibration: Sequence[Mapping[str, np.ndarray]]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # it has no types
        def __init__(self) -> None:
            self.waiting: Iterator[Mapping[str, np.ndarray]] = iter(calibration)

        def get_next(self) -> Mapping[str, np.ndarray] | None:
            return next(self.waiting, None)

    return Reader()
