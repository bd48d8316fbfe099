"""Explanations of texts in files, valid ones, read as those who load them use them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

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
