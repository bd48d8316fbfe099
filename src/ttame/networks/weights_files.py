"""Reading weights without running code of theirs, and recognising them again."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ttame.errors import WeightsError, either
from ttame.files.bounded_reading import UnreadableFileError
from ttame.files.tensor_files import opened_tensors, read_tensors
from ttame.networks.torch_files import TORCH_SUFFIXES, FoundWeights, read_torch_file


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        WeightsError: no such file, a pickle (which could run code), or a broken file.
    """
    path = checked_weights_file(path)
    try:
        return read_tensors(path)[0]
    except UnreadableFileError as problem:
        raise _unreadable(path, problem) from problem


def read_network_weights(path: Path | str) -> FoundWeights:
    """Read the weights of a network: a safetensors file, or one of ``torch.save``.

    Which of them a file is, its first bytes say, except that one which is called ``.safetensors``
    must be one.

    Raises:
        WeightsError: no such file, a broken one, or one that would need to run code.
    """
    path = _regular_file(path)
    named_torch = path.suffix.lower() in TORCH_SUFFIXES
    if path.suffix.lower() == ".safetensors" or not (named_torch or _starts_like_a_pickle(path)):
        return FoundWeights(read_weights(path))
    return read_torch_file(path)


def checked_weights_file(path: Path | str) -> Path:
    """The path, if it is a regular file and not a pickle.

    Raises:
        WeightsError: it is not.
    """
    path = _regular_file(path)
    if path.suffix.lower() in TORCH_SUFFIXES or _starts_like_a_pickle(path):
        raise WeightsError(
            f"{path} is a pickle, which could run code when it is opened",
            allowed="a .safetensors file",
            remedy="safetensors.torch.save_file(network.state_dict(), 'weights.safetensors') "
            "where you trust the file",
        )
    return path


def _regular_file(path: Path | str) -> Path:
    path = Path(path)
    if not os.path.isfile(path):  # unlike Path.is_file, also of a name that no file can have
        problem = "do not exist"
        if os.path.exists(path):
            problem = "are a folder" if path.is_dir() else "are a device or a pipe, not a file"
        raise WeightsError(
            f"weights {path} {problem}",
            allowed='"default", "none", or a file: .safetensors, .pth, .pt, .bin, .ckpt',
        )
    return path


def read_shapes(path: Path | str) -> dict[str, tuple[int, ...]]:
    """Read the header of a safetensors file: name to shape of its tensors, none of which is loaded.

    Raises:
        WeightsError: as :func:`read_weights`.
    """
    from safetensors import SafetensorError

    path = checked_weights_file(path)
    try:
        with opened_tensors(path) as file:
            names = list(file.keys())
            return {name: tuple(file.get_slice(name).get_shape()) for name in names}
    except (SafetensorError, OSError) as problem:
        raise _unreadable(path, problem) from problem


def _unreadable(path: Path, problem: Exception) -> WeightsError:
    return WeightsError(
        f"{path} is not a readable safetensors file ({problem})", allowed="a .safetensors file"
    )


def _starts_like_a_pickle(path: Path) -> bool:
    """Whether a file, whatever its name, opens as a pickle or as torch's archive of one."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as problem:
        raise WeightsError(f"{path} cannot be read ({problem.strerror})") from problem
    # A safetensors file opens with the length of its header: eight bytes, the upper ones zero.
    return start == b"PK\x03\x04" or (
        start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05" and start[2:4] != b"\x00\x00"
    )


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], name: str) -> None:
    """Load all weights into the network, or none.

    Args:
        network: changed in place.
        weights: parameter or buffer name to tensor.
        name: how errors call the weights.

    Raises:
        WeightsError: names, shapes or kinds of numbers do not fit; the network is unchanged.
    """
    own = {key: value for key, value in network.state_dict().items() if isinstance(value, Tensor)}
    # Files older than this counter lack it, and nothing in eval mode depends on it.
    counters = {key for key in own if key.endswith("num_batches_tracked")}
    missing = [key for key in own if key not in weights and key not in counters]
    surplus = [key for key in weights if key not in own]
    reshaped = [key for key in own if key in weights and own[key].shape != weights[key].shape]
    if missing or surplus or reshaped:
        problems = [
            f"{len(keys)} {what}, e.g. {keys[0]}"
            for what, keys in (("missing", missing), ("unknown", surplus))
            if keys
        ]
        if reshaped:
            key = reshaped[0]
            problems.append(
                f"{len(reshaped)} of another shape, e.g. {key} {tuple(weights[key].shape)} "
                f"for {tuple(own[key].shape)}"
            )
        raise WeightsError(
            f"{name} are weights of another architecture than {type(network).__name__} "
            f"({'; '.join(problems)})",
            remedy=_where_they_fit(len(own), missing, surplus, reshaped),
        )
    other = [
        key
        for key in own
        if key in weights and key not in counters and _kind(own[key]) != _kind(weights[key])
    ]
    if other:
        key = other[0]
        raise WeightsError(
            f"{name} hold {weights[key].dtype} for {key}, which is {own[key].dtype}",
            allowed="weights of the network's own kind of number",
        )
    network.load_state_dict(dict(weights), strict=False)


def _where_they_fit(count: int, *others: list[str]) -> str:
    """What to name instead of a network that some weights do not fit.

    Args:
        count: of the network's tensors.
        *others: names that do not fit, of each kind.
    """
    if sum(map(len, others)) < count / 4:
        # Its end was changed for training, say, to dropout and a linear layer: what is between
        # layers cannot be seen in weights.
        return either(
            "the network built as it was for training, since most of its layers fit",
            "--model FILE.py:FUNCTION, which builds the network as it was for training, since most "
            "of its layers fit",
        )
    return "the name of the network they were trained for"


def _kind(values: Tensor) -> str:
    """Numbers that can be converted without losing what they mean: quantised ones cannot."""
    return "complex" if values.is_complex() else "real" if values.is_floating_point() else "whole"


def weight_fingerprint(network: nn.Module) -> str:
    """A SHA-256 over names, dtypes, shapes and values of all parameters and buffers.

    Two networks with the same fingerprint compute the same thing if they are built alike, so a
    head trained for one belongs to the other. The device does not matter; the dtype does.

    Returns:
        64 hexadecimal digits.

    Example:
        >>> weight_fingerprint(nn.Identity())[:8]
        'e3b0c442'
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        if not isinstance(tensor, Tensor):
            continue
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(raw.numpy().data)
    return digest.hexdigest()


def read_indexed_weights(path: Path, index_file: Path) -> dict[str, Tensor]:
    """Read raw tensors at known offsets from a file of a known SHA-256.

    This is how weights that a package ships as a pickle are used without unpickling.

    Args:
        path: the file with the numbers.
        index_file: JSON with ``sha256`` and, per tensor, ``offset``, ``shape``,
            ``strides`` and ``dtype``.

    Raises:
        WeightsError: the file is missing or another version than the index was made for.
    """
    index = json.loads(index_file.read_text(encoding="utf-8"))
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise WeightsError(f"cannot read the bundled weights {path} ({problem})") from problem
    if hashlib.sha256(content).hexdigest() != index["sha256"]:
        raise WeightsError(
            f"{path} is not the weights file that ttame knows",
            remedy='pip install --force-reinstall "ttame[bundled]"',
        )
    tensors = {}
    for name, place in index["tensors"].items():
        values = np.frombuffer(
            content,
            dtype=np.dtype(place["dtype"]).newbyteorder("<"),
            count=math.prod(place["shape"]),
            offset=place["offset"],
        )
        # Some tensors were converted from another layout and are stored transposed.
        stored = torch.from_numpy(values.copy())
        tensors[name] = stored.as_strided(place["shape"], place["strides"]).contiguous()
    return tensors
