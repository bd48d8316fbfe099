"""Safetensors files of strangers."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from ttame.files.bounded_reading import UnreadableFileError
from ttame.files.tensor_files import read_tensors


def with_header(header: object, data: bytes = b"\0" * 16, length: int | None = None) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype: str, shape: list[object], end: int = 16) -> dict[str, object]:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}}


def test_tensors_and_strings_are_read(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(3.0), "b": torch.tensor([[True]])}
    (tmp_path / "file").write_bytes(save(tensors, {"by": "me"}))
    found, metadata = read_tensors(tmp_path / "file")
    assert metadata == {"by": "me"}
    assert all(torch.equal(found[name], tensors[name]) for name in tensors | found)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        with_header(entry("F32", [4]))[:-1],
        with_header(entry("F32", [4]), length=2**63),
        with_header(entry("F32", [4]), length=2**26),
        with_header(entry("F32", [2**62, 4])),
        with_header(entry("F32", [-4])),
        with_header(entry("F32", [1e18])),
        with_header(entry("NO", [4])),
        with_header(entry("F32", [5], 20)),
        with_header({"a": [], "__metadata__": {"a": 1}}),
        with_header([]),
        struct.pack("<Q", 100_000) + b"[" * 100_000,
    ],
)
def test_headers_that_mean_nothing_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UnreadableFileError) as caught:
        read_tensors(tmp_path / "file")
    assert "\n" not in str(caught.value)


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="it is a folder"):
        read_tensors(tmp_path)
    for name in ("missing", "long" * 2000, "nul\0"):
        with pytest.raises(UnreadableFileError):
            read_tensors(tmp_path / name)
