"""Explanations in files: one safetensors file each."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ttame.errors import ExplainerError
from ttame.files.atomic_writing import write_tensors
from ttame.files.bounded_reading import UnreadableFileError
from ttame.files.json_files import checked_as, parse_json
from ttame.files.tensor_files import read_tensors
from ttame.images.photo_crop import PhotoCrop
from ttame.outputs import SOFTMAX

SCHEMA_VERSION = 4
"""Files of version 1 have no probabilities, which then are the softmax of the logits; those of
version 2 no labels of targets, which then are classes; those of version 3 no crop, so that their
maps cannot be laid on photos."""

_TENSORS = ("maps", "classes", "logits", "probabilities")
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_LARGEST_SIDE = 16384  # pixels of the network's input


@dataclasses.dataclass(frozen=True)
class _Described:
    """What stands in the file besides tensors."""

    schema_version: int
    image_size: tuple[int, int]
    class_names: tuple[str, ...]
    method: str
    provenance: dict[str, Any]
    exclusive: bool = True
    target_labels: tuple[tuple[str, ...], ...] = ()
    crop: PhotoCrop | None = None
    of_pixels: bool = False


def write_explanation(path: Path | str, fields: Mapping[str, Any]) -> None:
    """Write the fields of an explanation, whole or not at all.

    Raises:
        OutputError: the disk is full or the place is not writable.
    """
    write_tensors(path, _tensors_of(fields), _metadata_of(fields))


def explanation_bytes(fields: Mapping[str, Any]) -> bytes:
    """The file that :func:`write_explanation` writes, in memory."""
    from safetensors.torch import save

    tensors = _tensors_of(fields).items()
    return save({name: tensor.cpu().contiguous() for name, tensor in tensors}, _metadata_of(fields))


def _tensors_of(fields: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: fields[name].detach() for name in _TENSORS}


def _metadata_of(fields: Mapping[str, Any]) -> dict[str, str]:
    crop = fields["crop"]
    described = {
        "schema_version": SCHEMA_VERSION,
        "image_size": fields["image_size"],
        "class_names": fields["class_names"],
        "method": fields["method"],
        "provenance": dict(fields["provenance"]),
        "exclusive": fields["exclusive"],
        "target_labels": fields["target_labels"],
        "crop": None if crop is None else dataclasses.asdict(crop),
        "of_pixels": fields["of_pixels"],
    }
    return {"ttame_explanation": json.dumps(described)}


def read_explanation(path: Path | str) -> dict[str, Any]:
    """Read what :func:`write_explanation` wrote, checked.

    Raises:
        ExplainerError: the file is not an explanation of this schema version.
    """
    try:
        tensors, metadata = read_tensors(path)
        if "ttame_explanation" not in metadata:
            raise UnreadableFileError("it does not describe one")
        content = parse_json(metadata["ttame_explanation"], allow_nan=True)
        known = [*range(1, SCHEMA_VERSION + 1)]
        if isinstance(content, dict) and content.get("schema_version") not in known:
            raise ExplainerError(
                f"{path} has explanation schema {content.get('schema_version')}",
                allowed=f"schema {' or '.join(map(str, known))}",
            )
        described = checked_as(_Described, content)
        _check_fit(tensors, described)
    except UnreadableFileError as problem:
        raise ExplainerError(
            f"{path} is not a saved explanation ({problem})",
            allowed="a file that Explanation.save wrote",
        ) from problem
    return {
        "maps": tensors["maps"],
        "classes": tensors["classes"],
        "logits": tensors["logits"],
        "image_size": described.image_size,
        "class_names": described.class_names,
        "method": described.method,
        "provenance": described.provenance,
        "probabilities": tensors.get("probabilities", SOFTMAX.probabilities(tensors["logits"])),
        "exclusive": described.exclusive,
        "target_labels": described.target_labels,
        "crop": described.crop,
        "of_pixels": described.of_pixels,
    }


def _check_fit(tensors: Mapping[str, Tensor], described: _Described) -> None:
    """Refuse tensors that cannot be an explanation, before something fails that uses one."""
    missing = [name for name in ("maps", "classes", "logits") if name not in tensors]
    if missing:
        raise UnreadableFileError(f"it has no {' and no '.join(missing)}")
    maps, classes, logits = (tensors[name] for name in ("maps", "classes", "logits"))
    if not all(values.dtype in _FLOATS for values in (maps, logits)):
        raise UnreadableFileError("maps or logits are not floating point")
    if maps.ndim != 4 or min(maps.shape) < 1 or classes.shape != maps.shape[:2]:
        raise UnreadableFileError(f"maps {tuple(maps.shape)}, classes {tuple(classes.shape)}")
    if logits.ndim != 2 or len(logits) != len(maps) or classes.dtype != torch.int64:
        raise UnreadableFileError(f"logits {tuple(logits.shape)}, classes of {classes.dtype}")
    if not 0 <= int(classes.min()) <= int(classes.max()) < logits.shape[1]:
        raise UnreadableFileError(f"classes beyond the {logits.shape[1]} logits")
    if len(described.class_names) not in (0, logits.shape[1]):
        raise UnreadableFileError(
            f"{len(described.class_names)} class names, {logits.shape[1]} logits"
        )
    if described.target_labels and (
        len(described.target_labels) != len(maps)
        or any(len(labels) != maps.shape[1] for labels in described.target_labels)
    ):
        raise UnreadableFileError(f"target labels that do not fit {tuple(maps.shape)} maps")
    if not all(1 <= side <= _LARGEST_SIDE for side in described.image_size):
        raise UnreadableFileError(f"an image of {described.image_size} pixels")
    _check_crop(described.crop)
    if not bool(maps.isfinite().all()):
        raise UnreadableFileError("maps with NaN or infinity")
    probabilities = tensors.get("probabilities")
    if probabilities is None and described.schema_version > 1:
        raise UnreadableFileError("it has no probabilities")
    if probabilities is not None and (
        probabilities.shape != logits.shape
        or probabilities.dtype not in _FLOATS
        or not bool(((probabilities >= 0) & (probabilities <= 1)).all())
    ):
        raise UnreadableFileError(f"probabilities {tuple(probabilities.shape)} that cannot be")


def _check_crop(crop: PhotoCrop | None) -> None:
    if crop is None:
        return
    resize = crop.resize
    sides = resize if isinstance(resize, tuple) else (resize,) if isinstance(resize, int) else ()
    if not all(1 <= side <= _LARGEST_SIDE for side in (*crop.input_size, *sides)):
        raise UnreadableFileError(f"a crop of {crop.input_size} pixels after {resize}")
