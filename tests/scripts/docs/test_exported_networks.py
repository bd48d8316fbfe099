from __future__ import annotations

import json

import pytest
import torch

import ttame
from scripts.docs.exported_networks import (
    BUNDLED,
    LIBRARIES,
    PAGE,
    STORED,
    TRIED,
    Tried,
    as_markdown,
    classifier_of,
    result_of,
    with_table,
)
from ttame.testing import tiny_classifier

RESULTS = json.loads(STORED.read_text(encoding="utf-8"))


def test_the_page_follows_from_what_is_stored() -> None:
    assert set(RESULTS) == {tried.key for tried in TRIED} | set(BUNDLED)
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(page, as_markdown(RESULTS)) == page, (
        "write it again: python -m scripts.docs.exported_networks --only nothing"
    )


def test_every_architecture_has_a_row() -> None:
    rows = [line for line in as_markdown(RESULTS).splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len({tried.architecture for tried in TRIED}) == 9
    assert {tried.library for tried in TRIED} == set(LIBRARIES)


def by_key(key: str) -> Tried:
    return next(tried for tried in TRIED if tried.key == key)


@pytest.mark.parametrize("key", ["ConvNeXt-T, timm", "DINOv2 with registers, transformers"])
def test_what_is_stored_is_what_the_module_does(key: str) -> None:
    """Without the file, which takes longer: the recorded module against the explainer."""
    classifier = classifier_of(by_key(key))
    explainer = ttame.new_attention_explainer(classifier, ttame.head_settings("few-shot"))
    module = ttame.ExplainableClassifier(explainer)
    height, width = classifier.preprocessing.input_size
    images = torch.randn(3, 3, height, width, generator=torch.Generator().manual_seed(0))
    said, expected = module(images), explainer(images, "top3")
    assert torch.equal(said.classes, expected.classes)
    assert torch.allclose(said.maps, expected.maps, rtol=1e-4, atol=1e-5)
    assert RESULTS[key].startswith("yes")


def test_what_cannot_be_exported_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ttame.TtameError("a loop")

    monkeypatch.setattr(ttame, "export_explainer", refuse)
    assert result_of(lambda: tiny_classifier(size=32)) == "no: a loop"
