"""Writing an explainer as one file that is run before it is kept."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from ttame.errors import ExplainerError, OutputError, setting
from ttame.explainers.contract.explainer import Explainer
from ttame.exporting.explainable_classifier import ExplainableClassifier, Takes
from ttame.exporting.exported_facts import ExportedFacts, Precision, facts_of
from ttame.exporting.graph_formats import (
    Format,
    Run,
    onnx_bytes,
    program_of,
    pt2_bytes,
    require,
    run_onnx,
    run_pt2,
)
from ttame.exporting.int8_graph import int8_graph
from ttame.exporting.onnx_contents import with_facts
from ttame.exporting.openvino_format import openvino_files, run_openvino
from ttame.exporting.parity import Photo, check_parity, compare, inputs_of, pixels_of
from ttame.files.atomic_writing import whole_file
from ttame.networks.giving_back import gives_everything_back

_Written = tuple[tuple[bytes, ...], ExportedFacts]


@gives_everything_back
def export_explainer(
    explainer: Explainer,
    out: Path | str,
    *,
    format: Format = "onnx",
    top_k: int | Literal["all"] | None = None,
    choose_classes: bool = False,
    takes: Takes = "pixels",
    dynamic_batch: bool = False,
    half: bool = False,
    int8: Sequence[Photo] = (),
    photos: Sequence[Photo] = (),
    overwrite: bool = False,
) -> ExportedFacts:
    """Write a classifier and its maps as one file.

    What was written is run, next to PyTorch, on noise and on photos, before it gets its name. The
    tensors are called ``pixels`` or ``images`` (and ``asked``) where they go in, and ``logits``,
    ``probabilities``, ``classes`` and ``maps`` where they come out.

    Args:
        explainer: see :class:`ttame.ExplainableClassifier`.
        out: the file.
        format: ``"onnx"``, ``"pt2"`` for ``torch.export.load``, or ``"openvino"``, whose graph
            is called ``NAME.xml``; the weights, ``NAME.bin``, lie next to it.
        top_k: how many of the most probable classes are explained, or ``"all"``. If not given,
            three, or two of a network with two.
        choose_classes: give the file a second input, ``asked``, instead.
        takes: ``"pixels"``, uint8 that are normalised inside; ``"images"``, normalised already; or
            ``"photos"``, uint8 of any size, resized and cropped inside: their maps lie on the
            photos. Such a file is for :class:`onnxruntime.InferenceSession` and its like, not for
            :func:`ttame.load_exported`.
        dynamic_batch: take any number of images; else one.
        half: let the network compute in half precision.
        int8: photos, some dozens, on which the network's numbers are rounded to 8 bits.
        photos: real ones to run the file on.
        overwrite: replace an existing file.

    Returns:
        What the file says about itself; ``parity`` is what the comparison gave.

    Raises:
        OutputError: the file exists, or cannot be written.
        ExplainerError: the method cannot be exported, an operator is missing, or the file differs
            from PyTorch.
        ClassifierError: the network's code cannot be recorded.
        MissingExtraError: ``pip install "ttame[export]"``, or ``"ttame[openvino]"``.

    Example:
        >>> import ttame
        >>> explainer = ttame.load_explainer("efficientnet_lite0")
        >>> export_explainer(explainer, "why.onnx").batch_size  # doctest: +SKIP
        1
    """
    path = Path(out)
    if format not in get_args(Format):
        raise ExplainerError(f"format {format!r}", allowed=", ".join(get_args(Format)))
    files = (path,) if format != "openvino" else (path.with_suffix(".bin"), path)
    _refuse_names(files, format, overwrite=overwrite)
    _require_packages(format)
    precision = _precision(format, half=half, int8=int8)
    if takes == "photos" and precision != "float32":
        raise ExplainerError(
            f"{precision} in a file that takes photos",
            allowed=f"float32, or {setting('takes', 'pixels')}",
        )
    module = ExplainableClassifier(
        explainer, top_k, takes=takes, batch_size=None if dynamic_batch else 1
    )
    facts = facts_of(module, chooses_classes=choose_classes, precision=precision)
    if half:
        module = module.half()
    exporting = _Exporting(module, explainer, photos, int8)
    contents, facts = exporting.written(format, facts)
    for file, content in zip(files, contents, strict=True):
        with whole_file(file) as temporary:
            temporary.write_bytes(content)
    return facts


def _refuse_names(files: Sequence[Path], format: Format, *, overwrite: bool) -> None:
    if format == "openvino" and files[-1].suffix != ".xml":
        raise OutputError(f"{files[-1]} as the name of an OpenVINO graph", allowed="NAME.xml")
    existing = [file for file in files if file.exists()]
    if existing and not overwrite:
        raise OutputError(
            f"{existing[0]} exists",
            remedy=f"another {setting('out')}, or {setting('overwrite', True)}",
        )


def _require_packages(format: Format) -> None:
    if format != "pt2":
        require("onnx", "onnxscript", "onnxruntime")
    if format == "openvino":
        require("openvino", extra="openvino", purpose="OpenVINO files")


def _precision(format: Format, *, half: bool, int8: Sequence[Photo]) -> Precision:
    if half and int8:
        raise ExplainerError("half and int8 in one file", allowed="one of them")
    if int8 and format == "pt2":
        raise ExplainerError(f"int8 as {format}", allowed="onnx or openvino")
    return "half" if half else "int8" if int8 else "float32"


@dataclasses.dataclass(frozen=True)
class _Exporting:
    """What is written, and what it is compared with.

    Attributes:
        module: that is written.
        explainer: that was exported.
        photos: for the comparison.
        calibration: photos for 8 bits, if the network is rounded.
    """

    module: ExplainableClassifier
    explainer: Explainer
    photos: Sequence[Photo]
    calibration: Sequence[Photo]

    def written(self, format: Format, facts: ExportedFacts) -> _Written:
        """The bytes of each file, and the facts with what the comparison gave."""
        writers = {"onnx": self._as_onnx, "pt2": self._as_pt2, "openvino": self._as_openvino}
        return writers[format](facts)

    def _as_onnx(self, facts: ExportedFacts) -> _Written:
        graph = self._graph(facts)
        facts = dataclasses.replace(facts, sha256=hashlib.sha256(graph).hexdigest())
        # With facts already: what is run is what is written, but for the numbers found by that.
        facts = self._compared(run_onnx(with_facts(graph, facts.as_json())), facts)
        return (with_facts(graph, facts.as_json()),), facts

    def _as_openvino(self, facts: ExportedFacts) -> _Written:
        graph = self._graph(facts)
        facts = self._compared(run_openvino(openvino_files(graph, facts.as_json())), facts)
        files = openvino_files(graph, facts.as_json())
        return (files.weights, files.graph), facts

    def _as_pt2(self, facts: ExportedFacts) -> _Written:
        program = program_of(self.module, chooses_classes=facts.chooses_classes)
        facts = self._compared(run_pt2(pt2_bytes(program, facts.as_json())), facts)
        return (pt2_bytes(program, facts.as_json()),), facts

    def _graph(self, facts: ExportedFacts) -> bytes:
        graph = onnx_bytes(self.module, chooses_classes=facts.chooses_classes)
        if not self.calibration:
            return graph
        pixels = (pixels_of(photo, self.explainer.classifier) for photo in self.calibration)
        return int8_graph(graph, [inputs_of(each[None], facts) for each in pixels])

    def _compared(self, run: Run, facts: ExportedFacts) -> ExportedFacts:
        compared = compare(run, self.explainer, facts, self.photos)
        parity = check_parity(compared, facts, self.explainer.classifier)
        return dataclasses.replace(facts, parity=parity)
