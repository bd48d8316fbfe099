from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ttame.errors import (
    ClassSelectionError,
    DatasetError,
    ExplainerError,
    OutputError,
    TextError,
    UnknownNameError,
)
from ttame.explainers.known_explainers import make_explainer
from ttame.reporting.texts.explain_texts import explain_texts
from ttame.testing import tiny_classifier, tiny_text_classifier


@pytest.fixture(scope="module")
def explainer() -> Any:
    return make_explainer("input_x_gradient", tiny_text_classifier())


def test_texts_and_pairs_are_explained(explainer: Any, tmp_path: Path) -> None:
    found = explain_texts(["not a bad film", ("good", "a dull plot")], explainer, tmp_path / "why")
    assert found.explained == 2 and found.methods == ("input_x_gradient",)
    first, second = found.rows()
    assert second.pair == "a dull plot" and len(first.classes) == 2
    assert found.explanation(first, "input_x_gradient").texts[0].text == "not a bad film"
    page = (tmp_path / "why" / "index.html").read_text()
    assert "Why did tiny BERT say that?" in page and "Input x gradient" in page.replace("×", "x")


def test_classes_can_be_named_and_compared(explainer: Any, tmp_path: Path) -> None:
    found = explain_texts(
        "a bad film", {"mine": explainer}, tmp_path / "why", classes="negative",
        rather_than="positive", strength="shared",
    )  # fmt: skip
    (row,) = found.rows()
    assert [shown.name for shown in row.classes] == ["negative rather than positive"]
    content = json.loads((tmp_path / "why" / "explanations.json").read_text())
    assert content["rather_than"] == "positive" and content["strength"] == "shared"
    assert content["methods"][0]["title"] == "mine"


def test_of_a_file_what_does_not_fit_is_skipped(explainer: Any, tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("good film\n" + "bad " * 60 + "\ndull\n")
    found = explain_texts(lines, explainer, tmp_path / "why", batch_size=2)
    assert [row.name for row in found.rows()] == ["line 1", "line 3"]
    assert found.skipped == (
        ("line 2", "line 2 has 62 tokens; allowed: at most 32, special ones included"),
    )
    lines.write_text("bad " * 60)
    with pytest.raises(TextError, match="none of the 1 texts can be explained"):
        explain_texts(lines, explainer, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_bad_input_is_refused_before_any_work(explainer: Any, tmp_path: Path) -> None:
    out = tmp_path / "why"
    of_photos = make_explainer("grad_cam", tiny_classifier())
    another = make_explainer("input_x_gradient", tiny_text_classifier())
    for texts, explainers, more, error, words in (
        ([], explainer, {}, TextError, "an empty list as texts"),
        (5, explainer, {}, TextError, "int as texts"),
        ([("a", "b", "c")], explainer, {}, TextError, "a tuple as text 1"),
        ("", explainer, {}, TextError, "text 1 is empty"),
        (tmp_path / "no.txt", explainer, {}, DatasetError, "cannot read"),
        ("a", of_photos, {}, ExplainerError, "grad_cam explains .*, a classifier of images"),
        ("a", {"x": explainer, "y": another}, {}, ExplainerError, "y explains another network"),
        ("a", [], {}, ExplainerError, "no method to explain with"),
        ("a", explainer, {"batch_size": 0}, ExplainerError, "batch_size 0"),
        ("a", explainer, {"classes": "neutral"}, ClassSelectionError, "neutral"),
        ("a", explainer, {"threshold": 0.3}, ClassSelectionError, "a threshold of 0.3"),
        ("a", explainer, {"strength": "contrast"}, UnknownNameError, "strength 'contrast'"),
    ):
        with pytest.raises(error, match=words):
            explain_texts(texts, explainers, out, **more)  # type: ignore[arg-type]
        assert not out.exists()


def test_a_folder_is_replaced_only_if_that_is_said(explainer: Any, tmp_path: Path) -> None:
    explain_texts("good", explainer, tmp_path / "why")
    with pytest.raises(OutputError, match="exists"):
        explain_texts("bad", explainer, tmp_path / "why")
    explain_texts("bad", explainer, tmp_path / "why", overwrite=True)
    assert '"bad"' in (tmp_path / "why" / "explanations.json").read_text()
