"""Small evaluations on texts for the tests."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ttame.evaluation.texts.evaluate_texts import evaluate_texts
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.method_card import MethodCard
from ttame.explainers.contract.request import RawMaps, Request
from ttame.results.evaluation import Evaluation
from ttame.testing.tiny_texts import tiny_text_classifier
from ttame.text_classifiers.text_classifier import TextClassifier
from ttame.text_classifiers.token_signal import words_of

SENTENCES = (
    "a fine film , really moving",
    "dull and boring , not a good story",
    "the plot was weak but the music is lovely",
    "unlike the movie , this ending was awful !",
    "it is a great story . the actors are brilliant",
    "never so sad , never so bad",
)
"""Without words of which the tokenizer knows nothing."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class InOrder(Explainer):
    """Scores words by their place in the text, and special tokens higher than all."""

    from_the_end: bool = False

    card = MethodCard("in_order", "In order", "baseline", "any", "1", "none", explains=("texts",))

    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        scores = self.classifier.logits(images)
        targets = request.targets(scores)
        places = words_of(images).float()
        ordered = places if self.from_the_end else -places
        maps = torch.where(places > 0, ordered, 1e6 * torch.ones_like(places))
        return RawMaps(scores, targets, maps[:, None, None].expand(-1, targets.shape[1], -1, -1))


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Nothing(Explainer):
    """The same score for every token; or none that is a number."""

    broken: bool = False

    card = MethodCard("nothing", "Nothing", "baseline", "any", "1", "none", explains=("texts",))

    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        scores = self.classifier.logits(images)
        targets = request.targets(scores)
        shape = (*targets.shape, 1, images.shape[-1])
        return RawMaps(scores, targets, torch.full(shape, math.nan if self.broken else 0.0))


tiny = functools.cache(tiny_text_classifier)


def review(number: int, **changed: Any) -> dict[str, Any]:
    """One line of a file: the label alternates, and the third word is the reason."""
    line = {
        "id": f"review {number}",
        "label": ("neg", "pos")[number % 2],
        "tokens": SENTENCES[number % len(SENTENCES)],
        "rationales": [[2, 3]],
    }
    return {**line, **changed}


def review_file(folder: Path, count: int = 6, **changed: Any) -> Path:
    path = folder / "reviews.jsonl"
    path.write_text("\n".join(json.dumps(review(number, **changed)) for number in range(count)))
    return path


def methods(classifier: TextClassifier) -> dict[str, Explainer]:
    return {
        "first": InOrder(classifier),
        "last": InOrder(classifier, from_the_end=True),
        "nothing": Nothing(classifier),
    }


def run(
    data: Any, out: Path, classifier: TextClassifier | None = None, **options: Any
) -> Evaluation:
    classifier = classifier or tiny()
    given = options.pop("methods", None) or methods(classifier)
    options = {"batch_size": 4, "progress": False, **options}
    return evaluate_texts(classifier, data, given, out, **options)
