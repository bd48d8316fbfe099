"""The reader against files that the onnx package makes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ttame.exporting.onnx_contents import onnx_contents, with_facts
from ttame.files.bounded_reading import UnreadableFileError


def model(*more_nodes: Any, tensors: Any = ()) -> onnx.ModelProto:
    weight = numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(2, 3), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), *more_nodes]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [weight, *tensors],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def test_facts_hash_and_operators_are_found() -> None:
    plain = model(helper.make_node("Relu", ["y"], ["z"])).SerializeToString()
    found = onnx_contents(with_facts(plain, '{"größe": 1}'))
    assert found.facts == '{"größe": 1}'
    assert found.sha256 == hashlib.sha256(plain).hexdigest()
    assert found.operators == {"MatMul", "Relu"}


def test_the_file_still_is_one_that_onnx_reads() -> None:
    again = onnx.load_from_string(with_facts(model().SerializeToString(), "facts" * 99))
    onnx.checker.check_model(again)
    assert {entry.key: entry.value for entry in again.metadata_props} == {"ttame": "facts" * 99}


def outside() -> onnx.ModelProto:
    tensor = TensorProto(name="v", data_type=TensorProto.FLOAT, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    return model(tensors=[tensor])


def constant_outside() -> onnx.ModelProto:
    tensor = TensorProto(name="v", data_type=TensorProto.FLOAT, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    return model(helper.make_node("Constant", [], ["v"], value=tensor))


def branching() -> onnx.ModelProto:
    inside = helper.make_graph([], "inside", [], [])
    node = helper.make_node("If", ["x"], ["z"], then_branch=inside, else_branch=inside)
    return model(node)


def with_function() -> onnx.ModelProto:
    made = model()
    made.functions.append(
        helper.make_function("own", "f", ["a"], ["a"], [], [helper.make_opsetid("", 20)])
    )
    return made


def sparse() -> onnx.ModelProto:
    made = model()
    made.graph.sparse_initializer.add().dims.append(2)
    return made


REFUSED: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "weights elsewhere": (outside, "another file"),
    "a constant elsewhere": (constant_outside, "another file"),
    "other operators": (
        lambda: model(helper.make_node("Evil", ["y"], ["z"], domain="com.microsoft")),
        "com.microsoft",
    ),
    "a branch": (branching, "a loop or a branch"),
    "a function": (with_function, "functions"),
    "sparse weights": (sparse, "sparse"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_ttame_does_not_write_is_refused(kind: str) -> None:
    make, words = REFUSED[kind]
    content = with_facts(make().SerializeToString(), "{}")
    with pytest.raises(UnreadableFileError, match=words):
        onnx_contents(content)


def test_a_file_without_facts_or_with_something_behind_them_is_refused() -> None:
    plain = model().SerializeToString()
    with pytest.raises(UnreadableFileError, match="no facts of ttame"):
        onnx_contents(plain)
    with pytest.raises(UnreadableFileError, match="something after"):
        onnx_contents(with_facts(plain, "{}") + plain)


def test_every_cut_is_refused() -> None:
    content = with_facts(model().SerializeToString(), "{}")
    onnx_contents(content)
    for length in range(len(content)):
        with pytest.raises(UnreadableFileError):
            onnx_contents(content[:length])
