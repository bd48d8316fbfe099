"""Turning an :class:`ExplainableClassifier` into the bytes of a file, and running them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ttame.errors import ExplainerError, MissingExtraError, setting
from ttame.exporting.explainable_classifier import ExplainableClassifier
from ttame.exporting.exported_facts import ASKED, OUTPUTS
from ttame.networks.network_trace import first_line

if TYPE_CHECKING:
    from torch.export import ExportedProgram

Format = Literal["onnx", "pt2", "openvino"]
Arrays = dict[str, np.ndarray]
Run = Callable[[Mapping[str, np.ndarray]], Arrays]
"""Runs a file: arrays by the names of inputs in, arrays by the names of results out."""

OPSET = 20
"""Of ONNX's operators."""

_LARGEST_ONNX = 2**31 - 2**24
"""Bytes; Protocol Buffers end at 2 GiB, and the facts follow."""


@torch.no_grad()
def program_of(module: ExplainableClassifier, *, chooses_classes: bool) -> ExportedProgram:
    """The module as ``torch.export`` holds one."""
    height, width = module.classifier.preprocessing.input_size
    count = module.batch_size or 2
    shapes = {
        "images": (count, 3, height, width),
        "pixels": (count, height, width, 3),
        # Any other than the input's: equal sizes would be taken for the same one.
        "photos": (count, 2 * height + 3, 3 * width + 5, 3),
    }
    images = torch.zeros(
        shapes[module.takes],
        dtype=torch.float32 if module.takes == "images" else torch.uint8,
        device=module.scale.device,
    )
    batch = {0: torch.export.Dim("batch", min=1)} if module.batch_size is None else {}
    if module.takes == "photos":
        batch |= {place: torch.export.Dim(name) for place, name in ((1, "height"), (2, "width"))}
    if not chooses_classes:
        return torch.export.export(
            _AsTuple(module), (images,), dynamic_shapes=(batch,), strict=False
        )
    classes = torch.zeros(count, 2, dtype=torch.int64, device=images.device)
    asked = {0: batch[0]} if 0 in batch else {}
    asked |= {1: torch.export.Dim("asked", min=1)}
    return torch.export.export(
        _AsTuple(module), (images, classes), dynamic_shapes=(batch, asked), strict=False
    )


class _AsTuple(nn.Module):
    """A module with a plain tuple as its result, which a file can hold without ttame."""

    def __init__(self, module: ExplainableClassifier) -> None:
        super().__init__()
        self.explained = module

    def forward(self, images: Tensor, classes: Tensor | None = None) -> tuple[Tensor, ...]:
        return tuple(self.explained(images, classes))


def onnx_bytes(module: ExplainableClassifier, *, chooses_classes: bool) -> bytes:
    """The module as an ONNX file.

    Raises:
        MissingExtraError: ``onnx`` or ``onnxscript`` is missing.
        ExplainerError: an operator that ONNX lacks, or more than 2 GiB.
    """
    require("onnx", "onnxscript")
    program = program_of(module, chooses_classes=chooses_classes)
    names = [module.takes, *([ASKED] if chooses_classes else [])]
    try:
        converted = torch.onnx.export(
            program,
            input_names=names,
            output_names=list(OUTPUTS),
            opset_version=OPSET,
            verbose=False,
        )
    except Exception as problem:  # the converter raises errors of many kinds
        raise _not_converted(module, problem) from problem
    assert converted is not None
    proto = converted.model_proto
    _tidy(proto, module)
    if proto.ByteSize() > _LARGEST_ONNX:
        raise ExplainerError(
            f"{module.classifier.name} with {proto.ByteSize()} bytes of weights as one ONNX file",
            allowed="2 GiB",
            remedy=f"{setting('half', True)}, or {setting('format', 'pt2')}",
        )
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def run_onnx(content: bytes) -> Run:
    """Run an ONNX file with ONNX Runtime, on the CPU.

    Raises:
        MissingExtraError: it is missing.
        ExplainerError: it cannot run the file.
    """
    require("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is wrong with a file is raised as well
    try:
        session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except Exception as problem:
        raise ExplainerError(f"ONNX Runtime refuses the file ({first_line(problem)})") from problem
    names = [result.name for result in session.get_outputs()]

    def run(inputs: Mapping[str, np.ndarray]) -> Arrays:
        try:
            return dict(zip(names, session.run(None, dict(inputs)), strict=True))
        except Exception as problem:
            raise ExplainerError(
                f"ONNX Runtime cannot run the file ({first_line(problem)})"
            ) from problem

    return run


def pt2_bytes(program: ExportedProgram, facts: str) -> bytes:
    """A file of ``torch.export``, with facts in the extra file ``ttame.json``."""
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={"ttame.json": facts})
    return content.getvalue()


def run_pt2(content: bytes) -> Run:
    """Run a file of ``torch.export`` that this process has just written.

    ``torch.export.load`` unpickles, so that a stranger's file must never come here.
    """
    module: Any = torch.export.load(io.BytesIO(content)).module()

    @torch.no_grad()
    def run(inputs: Mapping[str, np.ndarray]) -> Arrays:
        results: tuple[Tensor, ...] = module(*map(torch.from_numpy, inputs.values()))
        return {name: value.cpu().numpy() for name, value in zip(OUTPUTS, results, strict=True)}

    return run


def require(*packages: str, extra: str = "export", purpose: str = "ONNX files") -> None:
    """See that packages of an extra are there.

    Raises:
        MissingExtraError: one is not.
    """
    from importlib.util import find_spec

    for package in packages:
        if find_spec(package) is None:
            raise MissingExtraError.of(package, extra, purpose)


def _tidy(proto: Any, module: ExplainableClassifier) -> None:
    """Drop what only debugging needs, and call the size of a batch ``batch`` everywhere."""
    del proto.metadata_props[:]
    del proto.graph.value_info[:]
    del proto.graph.metadata_props[:]
    for part in (*proto.graph.node, *proto.graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    for value in (*proto.graph.input, *proto.graph.output):
        del value.metadata_props[:]
        if module.batch_size is None:
            value.type.tensor_type.shape.dim[0].dim_param = "batch"


def _not_converted(module: ExplainableClassifier, problem: Exception) -> ExplainerError:
    """Name the operator that ONNX lacks, and the layer that uses it."""
    causes: list[BaseException] = []
    cause: BaseException | None = problem
    while cause is not None and len(causes) < 20:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    found = re.search(r"No ONNX function found for <OpOverload\(op='([^']+)'", str(causes))
    if found is None:
        found = re.search(r"OpOverload\(op='([^']+)'", str(causes))
    if found is None:
        return ExplainerError(
            f"{module.classifier.name} cannot be written as ONNX ({first_line(problem)})"
        )
    layer = _layer_of(module, found[1])
    return ExplainerError(
        f"ONNX has no operator for {found[1]}" + (f", which layer {layer!r} uses" if layer else ""),
        remedy=setting("format", "pt2"),
    )


def _layer_of(module: ExplainableClassifier, operator: str) -> str:
    """The layer that uses an operator, or one that it is made of: special_i1e, bessel_i1e."""
    recorded: Any = module.recorded
    wanted = operator.partition(".")[2].partition(".")[0]
    ending = wanted.split("_")[-1]
    found: dict[bool, str] = {}
    for node in recorded.graph.nodes:
        stack = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
        name = node.target.__name__.split(".")[0] if node.op == "call_function" else ""
        if stack and name.endswith(ending):
            found.setdefault(name == wanted, str(stack[-1]).removeprefix("network."))
    return found.get(True, found.get(False, ""))
