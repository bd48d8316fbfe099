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
    onnx_bytes,
    pt2_bytes,
    require,
    run_onnx,
    run_pt2,
)
from ttame.exporting.int8_graph import int8_graph
from ttame.exporting.onnx_contents import with_facts
from ttame.exporting.parity import Photo, check_parity, compare, inputs_of, pixels_of
from ttame.files.atomic_writing import whole_file
from ttame.networks.giving_back import gives_everything_back


@gives_everything_back
def export_explainer(
    explainer: Explainer,
    out: Path | str,
    *,
    format: Format = "onnx",
    top_k: int | Literal["all"] = 3,
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
        format: ``"onnx"``, or ``"pt2"`` for ``torch.export.load``.
        top_k: how many of the most probable classes are explained, or ``"all"``.
        choose_classes: give the file a second input, ``asked``, instead.
        takes: ``"pixels"``, uint8 that are normalised inside, or ``"images"``, normalised already.
        dynamic_batch: take any number of images; else one.
        half: let the network compute in half precision.
        int8: photos, some dozens, on which the network's numbers are rounded to 8 bits.
        photos: real ones to run the file on.
        overwrite: replace an existing file.

    Returns:
        What the file says of itself; ``parity`` is what the comparison gave.

    Raises:
        OutputError: the file exists, or cannot be written.
        ExplainerError: the method cannot be exported, an operator is missing, or the file differs
            from PyTorch.
        ClassifierError: the network's code cannot be recorded.
        MissingExtraError: ``pip install "ttame[export]"``.

    Example:
        >>> import ttame
        >>> explainer = ttame.load_explainer("efficientnet_lite0")
        >>> export_explainer(explainer, "why.onnx").batch_size  # doctest: +SKIP
        1
    """
    path = Path(out)
    if format not in get_args(Format):
        raise ExplainerError(f"format {format!r}", allowed=" or ".join(get_args(Format)))
    if path.exists() and not overwrite:
        raise OutputError(
            f"{path} exists", remedy=f"another {setting('out')}, or {setting('overwrite', True)}"
        )
    if format == "onnx":
        require("onnx", "onnxscript", "onnxruntime")
    precision = _precision(format, half=half, int8=int8)
    module = ExplainableClassifier(
        explainer, top_k, takes=takes, batch_size=None if dynamic_batch else 1
    )
    facts = facts_of(module, chooses_classes=choose_classes, precision=precision)
    if half:
        module = module.half()
    if format == "onnx":
        content, facts = _as_onnx(module, explainer, facts, photos, int8)
    else:
        content, facts = _as_pt2(module, explainer, facts, photos)
    with whole_file(path) as temporary:
        temporary.write_bytes(content)
    return facts


def _precision(format: Format, *, half: bool, int8: Sequence[Photo]) -> Precision:
    if half and int8:
        raise ExplainerError("half and int8 in one file", allowed="one of them")
    if int8 and format != "onnx":
        raise ExplainerError(f"int8 as {format}", allowed="onnx", remedy=setting("format", "onnx"))
    return "half" if half else "int8" if int8 else "float32"


def _as_onnx(
    module: ExplainableClassifier,
    explainer: Explainer,
    facts: ExportedFacts,
    photos: Sequence[Photo],
    calibration: Sequence[Photo],
) -> tuple[bytes, ExportedFacts]:
    graph = onnx_bytes(module, chooses_classes=facts.chooses_classes)
    if calibration:
        prepared = (pixels_of(photo, explainer.classifier)[None] for photo in calibration)
        graph = int8_graph(graph, [inputs_of(pixels, facts) for pixels in prepared])
    facts = dataclasses.replace(facts, sha256=hashlib.sha256(graph).hexdigest())
    # With facts already: what is run is what is written, but for the numbers found by running it.
    run = run_onnx(with_facts(graph, facts.as_json()))
    compared = compare(run, explainer, facts, photos)
    parity = check_parity(compared, facts, explainer.classifier)
    facts = dataclasses.replace(facts, parity=parity)
    return with_facts(graph, facts.as_json()), facts


def _as_pt2(
    module: ExplainableClassifier,
    explainer: Explainer,
    facts: ExportedFacts,
    photos: Sequence[Photo],
) -> tuple[bytes, ExportedFacts]:
    chooses = facts.chooses_classes
    run = run_pt2(pt2_bytes(module, facts.as_json(), chooses_classes=chooses))
    compared = compare(run, explainer, facts, photos)
    parity = check_parity(compared, facts, explainer.classifier)
    facts = dataclasses.replace(facts, parity=parity)
    return pt2_bytes(module, facts.as_json(), chooses_classes=chooses), facts
