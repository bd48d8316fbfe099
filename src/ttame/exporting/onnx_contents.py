"""Looking into an ONNX file without a library, before one is given a stranger's file.

An ONNX file is one message of Protocol Buffers: fields with a number, each a whole number, four or
eight bytes, or a run of bytes that may be a message again. Messages that are written one behind the
other are one message, so that ttame's facts can be the last field of the file, behind the graph
whose SHA-256 they hold.

Every occurrence of a field is looked at, also where readers of the format would take the last one.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator

from ttame.files.bounded_reading import UnreadableFileError

FACTS_KEY = "ttame"
"""Of the entry among the metadata that ttame writes."""

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5

# Numbers of fields, by message.
_MODEL_GRAPH, _MODEL_METADATA, _MODEL_TRAINING, _MODEL_FUNCTIONS = 7, 14, 20, 25
_GRAPH_NODE, _GRAPH_TENSOR, _GRAPH_SPARSE = 1, 5, 15
_NODE_TYPE, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14

_ONNX_DOMAINS = (b"", b"ai.onnx")


@dataclasses.dataclass(frozen=True)
class OnnxContents:
    """What was found.

    Attributes:
        facts: the text of ttame's entry.
        sha256: of all that stands before it.
        operators: the kinds of the graph's nodes.
    """

    facts: str
    sha256: str
    operators: frozenset[str]


def onnx_contents(content: bytes) -> OnnxContents:
    """Look into the bytes of an ONNX file, and refuse what ttame does not write.

    That is: weights in other files, operators of other sets than ONNX's own, functions, graphs
    within graphs (loops and branches), and training graphs.

    Raises:
        UnreadableFileError: any of these, or no ONNX file of ttame's.
    """
    view = memoryview(content)
    operators: set[str] = set()
    graphs = 0
    facts: str | None = None
    behind = 0
    for number, value, start in _fields(view):
        if facts is not None:
            raise UnreadableFileError("there is something after ttame's facts")
        if number == _MODEL_GRAPH:
            graphs += 1
            _look_at_graph(_message(value), operators)
        elif number in (_MODEL_TRAINING, _MODEL_FUNCTIONS):
            raise UnreadableFileError("it holds functions or training graphs")
        elif number == _MODEL_METADATA:
            facts, behind = _facts_in(_message(value)), start
    if facts is None or graphs != 1:
        raise UnreadableFileError("it has no facts of ttame about one graph")
    return OnnxContents(facts, hashlib.sha256(view[:behind]).hexdigest(), frozenset(operators))


def with_facts(content: bytes, facts: str) -> bytes:
    """The bytes of an ONNX file with ttame's facts behind them."""
    entry = _run(1, FACTS_KEY.encode()) + _run(2, facts.encode())
    return content + _run(_MODEL_METADATA, entry)


def _run(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _facts_in(entry: memoryview) -> str | None:
    parts = {number: value for number, value, _ in _fields(entry)}
    key, text = parts.get(1), parts.get(2)
    if key is None or text is None or bytes(_message(key)) != FACTS_KEY.encode():
        return None
    try:
        return bytes(_message(text)).decode()
    except UnicodeDecodeError as problem:
        raise UnreadableFileError("facts that are not UTF-8") from problem


def _look_at_graph(graph: memoryview, operators: set[str]) -> None:
    for number, value, _ in _fields(graph):
        if number == _GRAPH_NODE:
            _look_at_node(_message(value), operators)
        elif number == _GRAPH_TENSOR:
            _look_at_tensor(_message(value))
        elif number == _GRAPH_SPARSE:
            raise UnreadableFileError("it holds sparse weights")


def _look_at_node(node: memoryview, operators: set[str]) -> None:
    for number, value, _ in _fields(node):
        if number == _NODE_DOMAIN and bytes(_message(value)) not in _ONNX_DOMAINS:
            domain = bytes(_message(value)).decode(errors="replace")
            raise UnreadableFileError(
                f"an operator of {domain[:40]!r}, which is not ONNX's own set"
            )
        if number == _NODE_TYPE:
            operators.add(bytes(_message(value)).decode(errors="replace")[:40])
        if number == _NODE_ATTRIBUTE:
            _look_at_attribute(_message(value))


def _look_at_attribute(attribute: memoryview) -> None:
    for number, value, _ in _fields(attribute):
        if number in _ATTRIBUTE_GRAPHS:
            raise UnreadableFileError("a loop or a branch")
        if number in _ATTRIBUTE_SPARSE:
            raise UnreadableFileError("it holds sparse weights")
        if number in _ATTRIBUTE_TENSORS:
            _look_at_tensor(_message(value))


def _look_at_tensor(tensor: memoryview) -> None:
    for number, value, _ in _fields(tensor):
        if number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and value != 0):
            raise UnreadableFileError("weights in another file")


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise UnreadableFileError("a number where an ONNX file has a message")
    return value


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview, int]]:
    """The number, the value and the first byte of each field."""
    place = 0
    while place < len(message):
        start = place
        tag, place = _read_varint(message, place)
        kind = tag & 7
        if kind == _VARINT:
            value, place = _read_varint(message, place)
            yield tag >> 3, value, start
            continue
        if kind == _BYTES:
            length, place = _read_varint(message, place)
        elif kind in (_FOUR_BYTES, _EIGHT_BYTES):
            length = 4 if kind == _FOUR_BYTES else 8
        else:
            raise UnreadableFileError("not an ONNX file")
        if length > len(message) - place or not tag >> 3:
            raise UnreadableFileError("not an ONNX file, or not a whole one")
        yield tag >> 3, message[place : place + length], start
        place += length


def _read_varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if place >= len(message):
            break
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), place
    raise UnreadableFileError("not an ONNX file, or not a whole one")
