"""Explain any text classifier of transformers.

>>> import ttame
>>> from ttame.testing import tiny_text_classifier
>>> classifier = tiny_text_classifier()                 # or ttame.text.load("hf/FOLDER")
>>> explainer = ttame.make_explainer("input_x_gradient", classifier)
>>> explainer("not a bad film", classes="all")
<TextExplanation by input_x_gradient: 1 text of 6 tokens, 2 classes each>

Importing this module loads nothing heavy; the first use of a name does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ttame.datasets.texts.annotated_texts import AnnotatedTexts
    from ttame.evaluation.texts.evaluate_texts import evaluate_texts
    from ttame.explaining.texts.windowed_texts import explain_long_text
    from ttame.reporting.texts.explain_texts import explain_texts as explain
    from ttame.results.text_explanation import TextExplanation
    from ttame.text_classifiers.sequence_classifiers import load
    from ttame.text_classifiers.text_classifier import TextClassifier
    from ttame.training.texts.text_explainer_folder import load_explainer
    from ttame.training.texts.train_text_explainer import train
    from ttame.words.tokenised_text import TokenisedText

__all__ = [
    "AnnotatedTexts",
    "TextClassifier",
    "TextExplanation",
    "TokenisedText",
    "evaluate_texts",
    "explain",
    "explain_long_text",
    "load",
    "load_explainer",
    "train",
]

_HOMES = {
    "AnnotatedTexts": "ttame.datasets.texts.annotated_texts",
    "TextClassifier": "ttame.text_classifiers.text_classifier",
    "TextExplanation": "ttame.results.text_explanation",
    "TokenisedText": "ttame.words.tokenised_text",
    "evaluate_texts": "ttame.evaluation.texts.evaluate_texts",
    "explain": "ttame.reporting.texts.explain_texts",
    "explain_long_text": "ttame.explaining.texts.windowed_texts",
    "load": "ttame.text_classifiers.sequence_classifiers",
    "load_explainer": "ttame.training.texts.text_explainer_folder",
    "train": "ttame.training.texts.train_text_explainer",
}

_NAMES_AT_HOME = {"explain": "explain_texts"}
"""Where ``ttame.text`` says already what is meant."""


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), _NAMES_AT_HOME.get(name, name))
    raise AttributeError(f"module 'ttame.text' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
