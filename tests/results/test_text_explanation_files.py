from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load, save

from tests.results.text_material import explained
from ttame.errors import ExplainerError
from ttame.results.text_explanation import TextExplanation

NAME = "ttame_text_explanation"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    explained("great film", pair="not bad").save(tmp_path / "why.safetensors")
    return tmp_path / "why.safetensors"


def described(path: Path) -> dict[str, Any]:
    with safe_open(path, "pt") as file:
        found: dict[str, Any] = json.loads(file.metadata()[NAME])
    return found


def rewritten(path: Path, content: object, **tensors: Any) -> Path:
    path.write_bytes(save({**load(path.read_bytes()), **tensors}, {NAME: json.dumps(content)}))
    return path


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"spans": [[0, 99]] * 7}, r"a token at \(0, 99\) of 10 characters"),
        ({"spans": [[3, 1]] * 7}, r"a token at \(3, 1\)"),
        ({"words": [2] * 7}, "a token of word 2 among 2"),
        ({"part": [0, 0, 0, 0, 2, 0, 0]}, "not described one by one"),
        ({"part": [0]}, "not described one by one"),
        ({"tokens": ["a"]}, "texts that do not have 7 tokens"),
        ({"text": 5}, "broken at 'texts.0.text'"),
        ({"special": None}, "broken at 'texts.0.special'"),
    ],
)
def test_tokens_that_do_not_lie_in_their_text_are_refused(
    saved: Path, change: dict[str, Any], reason: str
) -> None:
    content = described(saved)
    assert len(content["texts"][0]["tokens"]) == 7
    content["texts"][0].update(change)
    with pytest.raises(ExplainerError, match=reason):
        TextExplanation.load(rewritten(saved, content))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema_version": 9}, "has schema 9 of text explanations; allowed: schema 1"),
        ({"texts": []}, "0 texts, scores of 1"),
        ({"class_names": ["one"]}, "1 class names, 2 logits"),
        ({"target_labels": [["one"]]}, "target labels that do not fit"),
        ({"signed": "perhaps"}, "broken at 'signed'"),
    ],
)
def test_descriptions_that_do_not_fit_are_refused(
    saved: Path, change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ExplainerError, match=reason):
        TextExplanation.load(rewritten(saved, {**described(saved), **change}))


def test_tensors_that_cannot_be_are_refused(saved: Path) -> None:
    content, tensors = described(saved), load(saved.read_bytes())
    for name, wrong, reason in (
        ("maps", tensors["maps"] / 0, "NaN or infinity"),
        ("maps", tensors["maps"][None], r"scores \(1, 1, 2, 7\)"),
        ("maps", tensors["maps"].long(), "not floating point"),
        ("classes", tensors["classes"] + 1, "classes beyond the 2 logits"),
        ("probabilities", tensors["probabilities"] + 1, "probabilities .* that cannot be"),
        ("logits", tensors["logits"][0], r"logits \(2,\)"),
    ):
        with pytest.raises(ExplainerError, match=reason):
            TextExplanation.load(rewritten(saved, content, **{**tensors, name: wrong}))
