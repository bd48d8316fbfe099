from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers.normalizers import Replace

from tests.explaining.explaining_material import StoppedError, Stopping, content_of
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
from ttame.results.explained_texts import ExplainedTexts
from ttame.testing import tiny_classifier, tiny_text_classifier
from ttame.text_classifiers.text_classifier import TextClassifier


@pytest.fixture(scope="module")
def explainer() -> Any:
    return make_explainer("input_x_gradient", tiny_text_classifier())


def test_texts_and_pairs_are_explained(explainer: Any, tmp_path: Path) -> None:
    found = explain_texts(["not a bad film", ("good", "a dull plot")], explainer, tmp_path / "why")
    assert found.explained == 2 and found.methods == ("input_x_gradient",)
    first, second = found.rows()
    assert second.pair == "a dull plot" and len(first.classes) == 2
    assert found.explanation(first, "input_x_gradient").texts[0].text == "not a bad film"
    said = json.loads((tmp_path / "why" / "explanations.json").read_text())["reading"]
    assert said == {
        "tokenizer": explainer.classifier.tokenising.fingerprint(),
        "most_tokens": 32,
        "too_long": "refuse",
    }
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


LINES = [
    "not a bad film", "good", "bad " * 60, "a dull plot", "very moving music", "really good", "dull"
]  # fmt: skip
"""The third is too long."""


def of_lines(lines: Path, out: Path, explainers: Any, **options: Any) -> ExplainedTexts:
    """Two texts at a time."""
    return explain_texts(lines, explainers, out, **{"batch_size": 2, **options})


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(LINES))
    return path


@pytest.fixture(scope="module")
def two(explainer: Any) -> dict[str, Any]:
    return {"first": explainer, "random": make_explainer("random", explainer.classifier)}


def stopped(lines: Path, out: Path, explainers: Any, first: int = 5, **options: Any) -> None:
    with pytest.raises(StoppedError):
        of_lines(lines, out, explainers, listener=Stopping(first), **options)


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_a_stopped_run_goes_on_and_writes_the_same_bytes(
    lines: Path, two: Any, tmp_path: Path
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "why"
    of_lines(lines, whole, two)
    stopped(lines, out, two)
    assert not out.exists()
    stopped(lines, out, two, first=7, resume=True)
    told = Stopping()
    found = of_lines(lines, out, two, resume=True, listener=told)
    assert told.started == [(7, 6)] and [first for _, first, _ in told.begun] == [7, 7]
    assert content_of(out) == content_of(whole)
    assert found.explained == 6 and [name for name, _ in found.skipped] == ["line 3"]
    assert hidden(tmp_path) == []


def test_a_finished_run_has_nothing_to_resume(lines: Path, two: Any, tmp_path: Path) -> None:
    out, told = tmp_path / "why", Stopping()
    found = of_lines(lines, out, two, resume=True)
    before = content_of(out)
    assert of_lines(lines, out, two, resume=True, listener=told) == found
    assert told.started == [] and content_of(out) == before
    other = lines.with_name("other.txt")
    other.write_text("\n".join([*LINES, "good"]))
    cut = {"first": make_explainer("input_x_gradient", two["first"].classifier.truncating())}
    for given, explainers, options in (
        (other, two, {}),
        (lines, two, {"classes": "all"}),
        (lines, two, {"windows": True}),
        (lines, two, {"strength": "shared"}),
        (lines, {"first": two["first"]}, {"classes": "top1"}),
        (lines, {**two, **cut}, {}),
    ):
        with pytest.raises(OutputError, match="exists"):
            of_lines(given, out, explainers, resume=True, **options)
    assert content_of(out) == before


def test_unfinished_work_is_neither_lost_nor_mixed(lines: Path, two: Any, tmp_path: Path) -> None:
    out = tmp_path / "why"
    stopped(lines, out, two)
    (kept,) = hidden(tmp_path)
    with pytest.raises(OutputError, match="has not finished; try: resume=True"):
        of_lines(lines, out, two)
    for change, words in (
        ({"classes": "all"}, r"choice of classes: top1, not \[0, 1\]"),
        ({"batch_size": 3}, "batch size: 2, not 3"),
        (
            {"windows": True},
            "way to handle long texts: refuse, not windows; try: the same too_long",
        ),
        ({"strength": "shared"}, "way of drawing: own, not shared"),
    ):
        with pytest.raises(OutputError, match=f"of another {words}"):
            of_lines(lines, out, two, resume=True, **change)
    with pytest.raises(OutputError, match="another choice of methods"):
        of_lines(lines, out, {"first": two["first"]}, resume=True, classes="top1")
    lines.write_text("\n".join([LINES[1], LINES[0], *LINES[2:]]))
    with pytest.raises(OutputError, match=r"another set of texts: .* try: the same texts as"):
        of_lines(lines, out, two, resume=True)
    assert hidden(tmp_path) == [kept] and not out.exists()
    told = Stopping()
    of_lines(lines, out, two, overwrite=True, listener=told)
    assert told.started == [(7, 0)] and hidden(tmp_path) == []


def test_another_tokenizer_does_not_go_on(lines: Path, tmp_path: Path) -> None:
    """One with the same tokens, which cuts texts in another way."""
    out, classifier = tmp_path / "why", tiny_text_classifier()
    stopped(lines, out, make_explainer("input_x_gradient", classifier))
    other = copy.deepcopy(classifier.tokenizer)
    other.backend_tokenizer.normalizer = Replace("dull", "good")
    model = classifier.network.model
    changed = TextClassifier(model, other, name=classifier.name)
    with pytest.raises(OutputError, match="another tokenizer: .* try: the same tokenizer as"):
        of_lines(lines, out, make_explainer("input_x_gradient", changed), resume=True)
    # How it truncated last is not part of what it is.
    classifier.truncating().tokenise("bad " * 60)
    same, told = make_explainer("input_x_gradient", classifier), Stopping()
    of_lines(lines, out, same, resume=True, listener=told)
    assert told.started == [(7, 4)]


def test_nothing_stays_where_nothing_is_finished(lines: Path, two: Any, tmp_path: Path) -> None:
    stopped(lines, tmp_path / "why", two, first=1)
    stopped(lines, tmp_path / "why", two, first=1, batch_size=20)
    lines.write_text("bad " * 60 + "\n" + "bad " * 70 + "\n" + "bad " * 80)
    with pytest.raises(TextError, match="none of the 3 texts can be explained"):
        of_lines(lines, tmp_path / "why", two)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lines.txt"]
