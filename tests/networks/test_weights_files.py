from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.classifiers.small_networks import small_cnn
from ttame.errors import WeightsError
from ttame.networks.weights_files import (
    load_weights,
    read_indexed_weights,
    read_weights,
    weight_fingerprint,
)


def test_weights_come_back_as_saved(tmp_path: Path) -> None:
    saved, loaded = small_cnn(), small_cnn()
    save_file(saved.state_dict(), tmp_path / "w.safetensors")
    assert weight_fingerprint(saved) != weight_fingerprint(loaded)
    load_weights(loaded, read_weights(tmp_path / "w.safetensors"), "w")
    assert weight_fingerprint(saved) == weight_fingerprint(loaded)


@pytest.mark.parametrize("name", ["w.pth", "w.bin", "w.safetensors", "w"])
@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_pickles_are_refused_whatever_their_name(tmp_path: Path, name: str, writer: str) -> None:
    path = tmp_path / name
    if writer == "torch":
        torch.save(small_cnn().state_dict(), path)
    else:
        path.write_bytes(pickle.dumps({"weight": [1.0]}))
    with pytest.raises(WeightsError, match="is a pickle"):
        read_weights(path)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(small_cnn().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        read_weights(path)
    path.write_bytes(b"")
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        read_weights(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match='do not exist; allowed: "default", "none"'):
        read_weights(tmp_path / "missing.safetensors")
    with pytest.raises(WeightsError, match="are a folder"):
        read_weights(tmp_path)


def test_a_header_whose_length_looks_like_a_pickle_is_read(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    for padding in range(0, 700, 8):
        save_file({"a": torch.zeros(1)}, path, metadata={"note": "x" * padding})
        if path.read_bytes()[:1] == b"\x80":
            break
    assert path.read_bytes()[:1] == b"\x80"
    assert set(read_weights(path)) == {"a"}


def test_weights_of_another_architecture_change_nothing() -> None:
    network = small_cnn()
    before = weight_fingerprint(network)
    weights = dict(small_cnn().state_dict())
    weights["extra"] = torch.zeros(1)
    del weights["0.bias"]
    with pytest.raises(WeightsError, match=r"1 missing, e\.g\. 0\.bias; 1 unknown, e\.g\. extra"):
        load_weights(network, weights, "w")
    with pytest.raises(WeightsError, match=r"2 of another shape"):
        load_weights(network, small_cnn(classes=7).state_dict(), "w")
    assert weight_fingerprint(network) == before


def test_weights_without_batch_counters_are_complete() -> None:
    network, saved = small_cnn(), small_cnn()
    weights = {k: v for k, v in saved.state_dict().items() if "num_batches" not in k}
    load_weights(network, weights, "w")
    assert torch.equal(network[0].weight, saved[0].weight)


def test_the_fingerprint_sees_every_value_and_the_dtype() -> None:
    network = small_cnn()
    before = weight_fingerprint(network)
    network[1].running_mean[3] += 1
    moved = weight_fingerprint(network)
    assert len({before, moved, weight_fingerprint(network.bfloat16())}) == 3
    assert weight_fingerprint(nn.Identity()) == hashlib.sha256().hexdigest()


def write_index(folder: Path, content: bytes, digest: str) -> tuple[Path, Path]:
    (folder / "weights.bin").write_bytes(content)
    tensors = {
        "matrix": {"offset": 4, "shape": [2, 3], "strides": [1, 2], "dtype": "float32"},
        "count": {"offset": 28, "shape": [], "strides": [], "dtype": "int64"},
    }
    index = {"sha256": digest, "tensors": tensors}
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder / "weights.bin", folder / "index.json"


def test_tensors_are_read_at_their_offsets(tmp_path: Path) -> None:
    content = b"skip" + np.arange(6, dtype="<f4").tobytes() + np.array(9, dtype="<i8").tobytes()
    paths = write_index(tmp_path, content, hashlib.sha256(content).hexdigest())
    tensors = read_indexed_weights(*paths)
    assert tensors["matrix"].tolist() == [[0, 2, 4], [1, 3, 5]]
    assert tensors["matrix"].is_contiguous()
    assert tensors["count"].item() == 9


def test_another_file_than_the_known_one_is_refused(tmp_path: Path) -> None:
    path, index = write_index(tmp_path, b"something else", "0" * 64)
    with pytest.raises(WeightsError, match="not the weights file that ttame knows"):
        read_indexed_weights(path, index)
    path.unlink()
    with pytest.raises(WeightsError, match="cannot read the bundled weights"):
        read_indexed_weights(path, index)
