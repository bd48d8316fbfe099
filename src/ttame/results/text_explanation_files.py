"""Explanations of texts in files: one safetensors file each."""

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
from ttame.words.tokenised_text import TokenisedText, word_spans

SCHEMA_VERSION = 1

_NAME = "ttame_text_explanation"
_TENSORS = ("maps", "classes", "logits", "probabilities")
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


@dataclasses.dataclass(frozen=True)
class _Text:
    """What stands in the file of a text; see :class:`TokenisedText`."""

    text: str
    pair: str | None
    tokens: tuple[str, ...]
    spans: tuple[tuple[int, int] | None, ...]
    special: tuple[bool, ...]
    words: tuple[int | None, ...]
    part: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class _Described:
    """What stands in the file besides tensors."""

    schema_version: int
    texts: tuple[_Text, ...]
    class_names: tuple[str, ...]
    method: str
    provenance: dict[str, Any]
    exclusive: bool
    target_labels: tuple[tuple[str, ...], ...]
    signed: bool


def write_text_explanation(path: Path | str, fields: Mapping[str, Any]) -> None:
    """Write the fields of an explanation of texts, whole or not at all.

    Raises:
        OutputError: the disk is full or the place is not writable.
    """
    write_tensors(path, _tensors_of(fields), _metadata_of(fields))


def text_explanation_bytes(fields: Mapping[str, Any]) -> bytes:
    """The file that :func:`write_text_explanation` writes, in memory."""
    from safetensors.torch import save

    tensors = _tensors_of(fields).items()
    return save({name: tensor.cpu().contiguous() for name, tensor in tensors}, _metadata_of(fields))


def _tensors_of(fields: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: fields[name].detach() for name in _TENSORS}


def _metadata_of(fields: Mapping[str, Any]) -> dict[str, str]:
    described = {
        "schema_version": SCHEMA_VERSION,
        "texts": [dataclasses.asdict(text) for text in fields["texts"]],
        "class_names": fields["class_names"],
        "method": fields["method"],
        "provenance": dict(fields["provenance"]),
        "exclusive": fields["exclusive"],
        "target_labels": fields["target_labels"],
        "signed": fields["signed"],
    }
    return {_NAME: json.dumps(described)}


def read_text_explanation(path: Path | str) -> dict[str, Any]:
    """Read what :func:`write_text_explanation` wrote, checked.

    Raises:
        ExplainerError: the file is not an explanation of texts of this schema version.
    """
    try:
        tensors, metadata = read_tensors(path)
        if _NAME not in metadata:
            raise UnreadableFileError("it does not describe one")
        content = parse_json(metadata[_NAME], allow_nan=True)
        if isinstance(content, dict) and content.get("schema_version") != SCHEMA_VERSION:
            raise ExplainerError(
                f"{path} has schema {content.get('schema_version')} of text explanations",
                allowed=f"schema {SCHEMA_VERSION}",
            )
        described = checked_as(_Described, content)
        _check_tensors(tensors)
        _check_fit(tensors, described)
        texts = tuple(map(_text_of, described.texts))
    except UnreadableFileError as problem:
        raise ExplainerError(
            f"{path} is not a saved explanation of texts ({problem})",
            allowed="a file that TextExplanation.save wrote",
        ) from problem
    return {
        **{name: tensors[name] for name in _TENSORS},
        "texts": texts,
        "class_names": described.class_names,
        "method": described.method,
        "provenance": described.provenance,
        "exclusive": described.exclusive,
        "target_labels": described.target_labels,
        "signed": described.signed,
    }


def _check_tensors(tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that cannot be an explanation, before something fails that uses one."""
    missing = [name for name in _TENSORS if name not in tensors]
    if missing:
        raise UnreadableFileError(f"it has no {' and no '.join(missing)}")
    maps, classes, logits, probabilities = (tensors[name] for name in _TENSORS)
    if not all(values.dtype in _FLOATS for values in (maps, logits, probabilities)):
        raise UnreadableFileError("scores, logits or probabilities are not floating point")
    if maps.ndim != 3 or min(maps.shape) < 1 or classes.shape != maps.shape[:2]:
        raise UnreadableFileError(f"scores {tuple(maps.shape)}, classes {tuple(classes.shape)}")
    if logits.ndim != 2 or len(logits) != len(maps) or classes.dtype != torch.int64:
        raise UnreadableFileError(f"logits {tuple(logits.shape)}, classes of {classes.dtype}")
    if not 0 <= int(classes.min()) <= int(classes.max()) < logits.shape[1]:
        raise UnreadableFileError(f"classes beyond the {logits.shape[1]} logits")
    if probabilities.shape != logits.shape or not bool(
        ((probabilities >= 0) & (probabilities <= 1)).all()
    ):
        raise UnreadableFileError(f"probabilities {tuple(probabilities.shape)} that cannot be")
    if not bool(maps.isfinite().all()):
        raise UnreadableFileError("scores with NaN or infinity")


def _check_fit(tensors: Mapping[str, Tensor], described: _Described) -> None:
    """Refuse texts and names that do not belong to the tensors."""
    n_texts, n_classes, n_tokens = tensors["maps"].shape
    n_names, n_logits = len(described.class_names), tensors["logits"].shape[1]
    if n_names not in (0, n_logits):
        raise UnreadableFileError(f"{n_names} class names, {n_logits} logits")
    labels = described.target_labels
    if labels and [len(each) for each in labels] != [n_classes] * n_texts:
        raise UnreadableFileError(f"target labels that do not fit {n_texts} texts")
    if len(described.texts) != n_texts:
        raise UnreadableFileError(f"{len(described.texts)} texts, scores of {n_texts}")
    if any(len(text.tokens) != n_tokens for text in described.texts):
        raise UnreadableFileError(f"texts that do not have {n_tokens} tokens")


def _text_of(described: _Text) -> TokenisedText:
    """A text whose tokens lie in it."""
    fields = {field.name: getattr(described, field.name) for field in dataclasses.fields(_Text)}
    lengths = {len(fields[name]) for name in ("tokens", "spans", "special", "words", "part")}
    if len(lengths) > 1 or not all(0 <= part <= 1 for part in described.part):
        raise UnreadableFileError("tokens that are not described one by one")
    wholes = (described.text, described.pair or "")
    n_words = [len(word_spans(whole)) for whole in wholes]
    for span, word, part in zip(described.spans, described.words, described.part, strict=True):
        if span is not None and not 0 <= span[0] <= span[1] <= len(wholes[part]):
            raise UnreadableFileError(f"a token at {span} of {len(wholes[part])} characters")
        if word is not None and not 0 <= word < n_words[part]:
            raise UnreadableFileError(f"a token of word {word} among {n_words[part]}")
    return TokenisedText(**fields)
