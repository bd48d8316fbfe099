"""Explanations of texts in files, valid ones, read as those who load them use them."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from pathlib import Path

import torch

from ttame.datasets.texts.text_lines import read_text_lines
from ttame.files.growing_folder import RESULT
from ttame.reporting.method_label import MethodLabel
from ttame.reporting.texts.growing_text_report import GrowingTextReport
from ttame.reporting.texts.text_report import TextReportFacts
from ttame.results.explained_texts import ExplainedTexts
from ttame.results.text_explanation import TextExplanation
from ttame.words.tokenised_text import TokenisedText


def explanations() -> tuple[bytes, ...]:
    """A pair with class names, and two texts without."""
    pair = TokenisedText.of(
        "not bad",
        ("[CLS]", "not", "ba", "##d", "[SEP]", "so", "[SEP]"),
        spans=(None, (0, 3), (4, 6), (6, 7), None, (0, 2), None),
        special=(True, False, False, False, True, False, True),
        pair="so",
        part=(0, 0, 0, 0, 0, 1, 0),
    )
    explanation = TextExplanation(
        maps=torch.rand(1, 2, 7),
        classes=torch.tensor([[2, 0]]),
        logits=torch.tensor([[0.0, 1.0, 2.0]]),
        texts=(pair,),
        class_names=("no", "perhaps", "yes"),
        method="attention_rollout",
        provenance={"classifier": "tiny", "taps": ["a"], "rate": 0.5},
        target_labels=(("yes rather than no", "no"),),
        signed=True,
    )
    nameless = dataclasses.replace(
        explanation.select([0, 0]), class_names=(), target_labels=(), signed=False
    )
    return explanation.to_bytes(), nameless.to_bytes()


def read_explanation(path: Path) -> None:
    """Load it, and write its words in every way."""
    explanation = TextExplanation.load(path)
    assert repr(explanation) and explanation.to_html().startswith("<!doctype")
    assert explanation._repr_html_() and explanation.method.strip() is not None
    assert explanation.class_probabilities.shape == explanation.has_evidence.shape
    for one in explanation:
        assert [found.label for found in one.each_class()]
        assert one.word_scores().shape[1] == len(one.words())
        assert one.top(3) is not None and one.token_scores() is not None


@functools.cache
def contents() -> tuple[bytes, ...]:
    """``explanations.json`` of two texts, one of which was skipped."""
    explanation = TextExplanation(
        maps=torch.tensor([[[0.5, 0.25]]]),
        classes=torch.tensor([[1]]),
        logits=torch.tensor([[0.0, 1.0]]),
        texts=(
            TokenisedText.of(
                "so good", ("so", "good"), spans=((0, 2), (3, 7)), special=(False, False)
            ),
        ),
        method="attn_lrp",
    )
    facts = TextReportFacts({"attn_lrp": {"classifier": "tiny"}}, {"attn_lrp": MethodLabel("A")})
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / RESULT).mkdir()
        report = GrowingTextReport(Path(folder), ["line 1", "line 2"], facts)
        with report.batch(0) as batch:
            batch.add(0, [explanation], 0)
            batch.skip(1, "too long")
        report.complete()
        return ((Path(folder) / RESULT / "explanations.json").read_bytes(),)


def read_contents(path: Path) -> None:
    """Read the folder of such a file as the command does, which prints it."""
    found = ExplainedTexts.read(path.parent)
    assert isinstance(found.explained, int) and len(found.skipped) >= 0
    for row in found.rows():
        assert f"{row.name} {row.prediction} {row.probability:.1%} {row.text}"
        for shown in row.classes:
            assert [score > 0 for words in shown.strongest.values() for _, score in words] != [2]


def lines() -> tuple[bytes, ...]:
    """A text and its pair per line."""
    return ("not bad\n\nschön\tzwei\n".encode(),)


def objects() -> tuple[bytes, ...]:
    """A text per line of JSON."""
    return (b'{"text": "not bad", "id": "a"}\n{"tokens": "so good", "pair": "c"}\n',)


def read_lines(path: Path) -> None:
    """Read the texts of a file."""
    assert all(text.name and text.given for text in read_text_lines(path))
