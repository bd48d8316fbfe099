"""Exported ONNX files and their damage."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from benchmarks.reliability.mutations import mutate_bytes, mutate_json
from ttame.exporting.exported_explainer import load_exported
from ttame.exporting.exported_facts import INPUTS, OUTPUTS, ExportedFacts, read_facts
from ttame.exporting.onnx_contents import onnx_contents, with_facts
from ttame.files.bounded_reading import UnreadableFileError
from ttame.images.preprocessing import Preprocessing

_SIDE = 4


def exported_files() -> tuple[bytes, ...]:
    """A small network that is written down here: the mean colours are its logits."""
    import onnx
    from onnx import TensorProto, helper

    def tensor(name: str, kind: int, *shape: int | str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, list(shape))

    two = helper.make_tensor("two", TensorProto.INT64, [1], [2])
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2])
    starts = helper.make_tensor("starts", TensorProto.INT64, [1], [0])
    channels = helper.make_tensor("channels", TensorProto.INT64, [1], [1])
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["pixels"], ["values"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["values", "axes"], ["logits"], keepdims=0),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
            helper.make_node("TopK", ["logits", "two"], ["highest", "classes"], axis=1),
            helper.make_node("Transpose", ["values"], ["colours"], perm=[0, 3, 1, 2]),
            helper.make_node("Slice", ["colours", "starts", "two", "channels"], ["maps"]),
        ],
        "colours",
        [tensor("pixels", TensorProto.UINT8, "batch", _SIDE, _SIDE, 3)],
        [
            tensor("logits", TensorProto.FLOAT, "batch", 3),
            tensor("probabilities", TensorProto.FLOAT, "batch", 3),
            tensor("classes", TensorProto.INT64, "batch", 2),
            tensor("maps", TensorProto.FLOAT, "batch", 2, _SIDE, _SIDE),
        ],
        [two, axes, starts, channels],
    )
    opset = [helper.make_opsetid("", 20)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=10)
    return (_with(model.SerializeToString(deterministic=True), _facts()),)


def read_exported(path: Path) -> None:
    """Load it, and explain a photo."""
    explainer = load_exported(path)
    photo = Image.fromarray(np.arange(75, dtype=np.uint8).reshape(5, 5, 3))
    explanation = explainer(photo, "top2" if explainer.facts.top_k != 1 else None)
    assert explanation.heatmaps().isfinite().all()
    assert explanation.class_label(int(explanation.classes[0, 0]))


def mutate_exported(content: bytes, chance: Random) -> bytes:
    """Damage to the file, or to the facts alone, of which the hash still is right.

    A damaged graph with a right hash is not made here: only ONNX Runtime reads it.
    """
    if chance.random() < 0.5:
        return mutate_bytes(content, chance)
    try:
        found = onnx_contents(content)
    except UnreadableFileError:
        return mutate_bytes(content, chance)
    graph = content[: len(content) - len(with_facts(b"", found.facts))]
    facts = mutate_json(found.facts.encode(), chance).decode(errors="replace")
    return with_facts(graph, facts)


def mutate_graph(content: bytes, chance: Random) -> bytes:
    """Damage to the graph, with the hash that belongs to it."""
    found = onnx_contents(content)
    graph = content[: len(content) - len(with_facts(b"", found.facts))]
    return _with(mutate_bytes(graph, chance), read_facts(found.facts))


def _with(graph: bytes, facts: ExportedFacts) -> bytes:
    facts = dataclasses.replace(facts, sha256=hashlib.sha256(graph).hexdigest())
    return with_facts(graph, facts.as_json())


def _facts() -> ExportedFacts:
    return ExportedFacts(
        schema_version=1,
        ttame_version="0.1.0",
        method="cam",
        provenance={"classifier": "colours"},
        classifier="colours",
        fingerprint="",
        class_names=("red", "green", "blue"),
        number_of_classes=3,
        outputs="softmax",
        exclusive=True,
        preprocessing=json.loads(json.dumps(Preprocessing.imagenet(_SIDE).as_json())),
        takes="pixels",
        top_k=2,
        chooses_classes=False,
        batch_size=None,
        precision="float32",
        inputs={"pixels": INPUTS["pixels"]},
        results=OUTPUTS,
        parity={},
    )
