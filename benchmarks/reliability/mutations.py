"""Damage to files: what transfers, editors, other programs and attackers do to them.

Every function takes a valid file and a source of chance, and gives another file. Chance comes from
the standard library's Random, which hypothesis can stand in for, so that tests and the long run
share all of this.
"""

from __future__ import annotations

import io
import json
import re
import struct
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

Mutation = Callable[[bytes, Random], bytes]

_ODD_JSON = (
    *("null", "true", "false", "0", "-1", "1", "2", "0.5", "-0.0", "1e18", "-1e18", "1e999"),
    *("1" + "0" * 18, "-1" + "0" * 18, "4294967296", "1" + "0" * 25, "1" + "0" * 5000, "NaN"),
    *("1" + "0" * 400 + ".0", "Infinity", "-Infinity", '""', '"1"', '"nan"', '"../../etc/x"'),
    *('"' + "long/" * 2000 + '"', '"\\u0000"', '"\\ud800"', '"a\\nb\\u001b[31m"', "[]", "{}"),
    *("[[]]", "[null]", "[1, 2]", "[1e18, 1e18]", '{"a": 1}', "[" * 70 + "]" * 70),
    *("[" * 2000 + "]" * 2000, "[" * 100_000, '{"a":' * 2000 + "1" + "}" * 2000),
)
"""Texts of JSON values; some have no value in Python."""

_ODD_TEXTS = (
    *("", " ", "0", "-1", "1e18", "-1e18", "1e999", "nan", "inf", "-inf", "1_0", "0x10", "²", "٣"),
    *("1" + "0" * 5000, "9" * 19, "x" * 5000, "long/" * 2000, "a\nb", "\x1b[31m", "../../etc/x"),
)
_EXTREMES = tuple(
    struct.pack(kind, value)
    for kind, value in (
        *(("<Q", value) for value in (0, 1, 2**31, 2**32, 2**40, 2**63, 2**64 - 1)),
        *(("<I", value) for value in (0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1)),
        *((">I", value) for value in (1, 2**16, 2**31 - 1, 2**32 - 1)),
        *(("<H", value) for value in (0, 1, 2**15, 2**16 - 1)),
        *(("<d", value) for value in (float("nan"), float("inf"), 1e300)),
    )
)


def mutate_bytes(content: bytes, chance: Random) -> bytes:
    """Flip, cut, insert, overwrite, repeat or swap bytes, at one place to four."""
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        content = chance.choice(_BYTE_MUTATIONS)(content, chance)
    return content


def _flip(content: bytes, chance: Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 8)) if changed else 0):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _truncate(content: bytes, chance: Random) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def _insert(content: bytes, chance: Random) -> bytes:
    place = chance.randrange(len(content) + 1)
    extra = bytes(chance.randrange(256) for _ in range(chance.choice((1, 4, 64))))
    return content[:place] + extra + content[place:]


def _append(content: bytes, chance: Random) -> bytes:
    return content + chance.choice((b"\0", b"\xff", b"PK\x03\x04", content)) * chance.choice((1, 9))


def _piece(content: bytes, chance: Random) -> tuple[int, int]:
    start = chance.randrange(len(content) + 1)
    return start, min(len(content), start + chance.choice((1, 2, 8, 100)))


def _overwrite(content: bytes, chance: Random) -> bytes:
    start, _ = _piece(content, chance)
    extreme = chance.choice(_EXTREMES)
    return content[:start] + extreme + content[start + len(extreme) :]


def _remove(content: bytes, chance: Random) -> bytes:
    start, end = _piece(content, chance)
    return content[:start] + content[end:]


def _repeat(content: bytes, chance: Random) -> bytes:
    start, end = _piece(content, chance)
    return content[:end] + content[start:end] * chance.choice((1, 50)) + content[end:]


def _swap(content: bytes, chance: Random) -> bytes:
    (first, first_end), (second, second_end) = sorted(_piece(content, chance) for _ in range(2))
    if first_end > second:
        return content
    middle = content[first_end:second]
    pieces = content[second:second_end], middle, content[first:first_end]
    return content[:first] + b"".join(pieces) + content[second_end:]


_BYTE_MUTATIONS: tuple[Mutation, ...] = (
    *(_flip, _truncate, _insert, _append, _overwrite, _remove, _repeat, _swap),
)


def mutate_json(content: bytes, chance: Random) -> bytes:
    """Change values of a JSON document, one to three, and sometimes its bytes."""
    if chance.random() < 0.1:
        return mutate_bytes(content, chance)
    return _changed_json(json.loads(content), chance).encode("utf-8", "surrogatepass")


def _changed_json(tree: Any, chance: Random) -> str:
    raw: list[str] = []
    for _ in range(chance.choice((1, 1, 2, 3))):
        tree = _with_one_change(tree, chance, raw)
    text = json.dumps(tree)
    return re.sub(r'"@raw(\d+)@"', lambda found: raw[int(found[1])], text)


def _with_one_change(tree: Any, chance: Random, raw: list[str]) -> Any:
    """The tree with one node replaced, removed, repeated, wrapped or renamed."""
    places = list(_places(tree))
    if not places or chance.random() < 0.02:
        return _odd(chance, raw)
    parent, key = chance.choice(places)
    change = chance.randrange(8)
    if change == 0:
        del parent[key]
    elif change == 1 and isinstance(parent, list):
        parent[key:key] = [parent[key]] * chance.choice((1, 100))
    elif change == 1:
        parent["x" * chance.choice((1, 3000))] = parent.pop(key)
    elif change == 2:
        parent[key] = {"a": parent[key]} if chance.random() < 0.5 else [parent[key]]
    elif change == 3:
        other, place = chance.choice(places)
        parent[key] = json.loads(json.dumps(other[place]))
    else:
        parent[key] = _odd(chance, raw)
    return tree


def _odd(chance: Random, raw: list[str]) -> str:
    raw.append(chance.choice(_ODD_JSON))
    return f"@raw{len(raw) - 1}@"


def _places(tree: Any) -> Any:
    """(container, key) of every value below ``tree``."""
    keys = tree.keys() if isinstance(tree, dict) else range(len(tree))
    for key in list(keys) if isinstance(tree, dict | list) else ():
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from _places(tree[key])


def mutate_safetensors(content: bytes, chance: Random) -> bytes:
    """Change the header, or JSON in its metadata; its length stays right, mostly."""
    if chance.random() < 0.25:
        return mutate_bytes(content, chance)
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    data = content[8 + length :]
    described = [name for name, text in header.get("__metadata__", {}).items() if text[:1] == "{"]
    if described and chance.random() < 0.6:
        name = chance.choice(described)
        header["__metadata__"][name] = _changed_json(
            json.loads(header["__metadata__"][name]), chance
        )
        text = json.dumps(header)
    else:
        text = _changed_json(header, chance)
    encoded = text.encode("utf-8", "surrogatepass")
    said = (
        chance.choice(_EXTREMES[:7]) if chance.random() < 0.05 else struct.pack("<Q", len(encoded))
    )
    return said + encoded + data


_TAR_FIELDS = {
    "name": (0, 100),
    "mode": (100, 8),
    "uid": (108, 8),
    "size": (124, 12),
    "mtime": (136, 12),
    "type": (156, 1),
    "link": (157, 100),
    "magic": (257, 8),
    "major": (329, 8),
    "prefix": (345, 155),
    "sparse": (386, 97),
}
_TAR_VALUES = (
    *(b"", b"0", b"77777777777", b"-1", b"1e18", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"x" * 155),
    *(b"\x80" + b"\0" * 7 + b"\x01\0\0\0", b"\xff" * 11 + b"\0", b"../" * 40, b"00000001000"),
    *(b"a\nb\x1b[31m.png", b"\xc3\x28.png", b"001.cls", b"001.jpg"),
)
_PAX_LINES = (
    *(b"size=-512", b"size=1e18", b"size=" + b"9" * 30, b"path=" + b"a" * 5000, b"path=\xff\n"),
    *(b"GNU.sparse.map=0,1,2", b"GNU.sparse.major=1", b"GNU.sparse.size=-5", b"mtime=nan"),
    *(b"hdrcharset=BINARY", b"GNU.sparse.numblocks=" + b"9" * 20, b"uid=x", b"comment="),
)


def mutate_tar(content: bytes, chance: Random) -> bytes:
    """Change a field of a header, checksum and all, or put an extended header before a member."""
    chosen = chance.random()
    headers = [at for at in range(0, len(content), 512) if content[at + 257 : at + 262] == b"ustar"]
    if chosen < 0.25 or not headers:
        return mutate_bytes(content, chance)
    at = chance.choice(headers)
    if chosen < 0.5:
        block = _extended_header(chance) * chance.choice((1, 1, 1, 2000))
        return content[:at] + block + content[at:]
    start, length = _TAR_FIELDS[chance.choice(sorted(_TAR_FIELDS))]
    value = chance.choice((*_TAR_VALUES, *(bytes([kind]) for kind in b"12345678LKxgSV")))
    header = bytearray(content[at : at + 512])
    header[start : start + length] = value[:length].ljust(length, b"\0")
    return content[:at] + _with_checksum(header) + content[at + 512 :]


def _extended_header(chance: Random) -> bytes:
    """A pax header, or a long name, with an odd content or an odd size."""
    line = chance.choice(_PAX_LINES)
    length = len(line) + 3
    while len(b"%d %s\n" % (length, line)) != length:
        length += 1
    records = chance.choice((b"%d %s\n" % (length, line), b"99999999 a=b\n", b"0 \n", b"1" * 600))
    size = chance.choice((b"%011o" % len(records), *_TAR_VALUES))
    header = bytearray(512)
    header[:4] = b"long"
    header[124:136] = size[:12].ljust(12, b"\0")
    header[156:157] = chance.choice((b"x", b"g", b"L", b"K", b"S"))
    header[257:265] = b"ustar\x0000"
    return _with_checksum(header) + records.ljust(-(-len(records) // 512) * 512, b"\0")


def _with_checksum(header: bytearray) -> bytes:
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


_PROLOGUES = (
    b'<?xml version="1.0" encoding="utf-16"?>',
    b'<?xml version="1.0" encoding="hex"?>',
    b'<?xml version="1.0" encoding="idna"?>',
    b'<?xml version="1.0" encoding="utf-7"?>',
    b'<?xml version="1.0" encoding="no-such"?>',
    b'<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>',
    b'<!DOCTYPE a SYSTEM "file:///etc/passwd">',
    b"<a>" * 20_000,
    b"\xff\xfe",
    b"\xef\xbb\xbf",
)


def mutate_xml(content: bytes, chance: Random) -> bytes:
    """Change a text or a tag, put something in front, or change bytes."""
    chosen = chance.randrange(5)
    pieces = re.split(rb"(<[^>]*>)", content)
    place = chance.randrange(len(pieces))
    if chosen == 0:
        return chance.choice(_PROLOGUES) + content
    if chosen == 1:
        pieces[place : place + 1] = [pieces[place]] * chance.choice((0, 2, 2000))
        return b"".join(pieces)
    if chosen == 2:
        return mutate_bytes(content, chance)
    texts = [number for number, piece in enumerate(pieces) if piece[:1] not in (b"<", b"")]
    if texts:
        pieces[chance.choice(texts)] = _text(chance)
    return b"".join(pieces)


def mutate_lines(content: bytes, chance: Random) -> bytes:
    """Change a line of a text, or a word of it, or bytes."""
    lines = content.split(b"\n")
    place = chance.randrange(len(lines))
    chosen = chance.randrange(4)
    if chosen == 0:
        return mutate_bytes(content, chance)
    if chosen == 1:
        lines[place] = _text(chance)
    elif chosen == 2:
        lines[place] += b" " + _text(chance)
    else:
        lines[place : place + 1] = [lines[place]] * chance.choice((0, 1000))
    return b"\n".join(lines)


def _text(chance: Random) -> bytes:
    return chance.choice(_ODD_TEXTS).encode("utf-8", "surrogatepass")


def mutate_parquet(content: bytes, chance: Random) -> bytes:
    """Change columns or the JSON in the metadata and write anew, or change bytes."""
    import pyarrow.parquet as parquet

    chosen = chance.random()
    if chosen < 0.5:
        return mutate_bytes(content, chance)
    table = parquet.read_table(io.BytesIO(content))
    metadata = dict(table.schema.metadata or {})
    if metadata and chosen < 0.75:
        name = chance.choice(sorted(metadata))
        metadata[name] = _changed_json(json.loads(metadata[name]), chance).encode(
            "utf-8", "surrogatepass"
        )
        table = table.replace_schema_metadata(metadata)
    else:
        table = _with_another_column(table, chance)
    written = io.BytesIO()
    parquet.write_table(table, written)
    return written.getvalue()


def _with_another_column(table: Any, chance: Random) -> Any:
    import pyarrow

    place = chance.randrange(table.num_columns)
    name, rows = table.column_names[place], table.num_rows
    columns: Mapping[str, Any] = {
        "null": pyarrow.nulls(rows),
        "text": pyarrow.array(["x" * 3000] * rows),
        "lists": pyarrow.array([[1]] * rows),
        "holes": pyarrow.array([None] * rows, type=table.schema.field(place).type),
    }
    kind = chance.choice(("gone", "rows", "twice", *columns))
    if kind == "gone":
        return table.remove_column(place)
    if kind == "rows":
        chosen = [chance.randrange(rows) for _ in range(chance.choice((0, 1, rows, 99)))]
        return table.take(pyarrow.array(chosen, type=pyarrow.int64()))
    if kind == "twice":
        return table.append_column(name, table.column(place))
    return table.set_column(place, name, columns[kind])
