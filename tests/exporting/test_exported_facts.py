from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from ttame.exporting.exported_facts import ExportedFacts, read_facts
from ttame.files.bounded_reading import UnreadableFileError


def test_they_come_back_as_they_were(exported: tuple[Path, ExportedFacts]) -> None:
    facts = exported[1]
    assert read_facts(facts.as_json()) == dataclasses.replace(
        facts, provenance=json.loads(json.dumps(facts.provenance)),
        preprocessing=json.loads(json.dumps(facts.preprocessing)),
    )  # fmt: skip
    assert list(facts.inputs) == ["pixels", "asked"]
    assert list(facts.results) == ["logits", "probabilities", "classes", "maps"]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("schema_version", 2, "version 2"),
        ("number_of_classes", 5, "7 names of 5 classes"),
        ("takes", "tensors", "takes"),
        ("preprocessing", {"input_size": [1, 1]}, "preprocessing"),
        ("top_k", 0, "top_k"),
        ("precision", "int4", "precision"),
        ("recipe", {"name": 1}, "recipe.name"),
    ],
)
def test_others_are_refused(
    exported: tuple[Path, ExportedFacts], name: str, value: Any, words: str
) -> None:
    content = {**json.loads(exported[1].as_json()), name: value}
    with pytest.raises(UnreadableFileError, match=words):
        read_facts(json.dumps(content))
