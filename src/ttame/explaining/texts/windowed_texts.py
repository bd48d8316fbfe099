"""Explaining texts that are longer than their classifier reads, window by window."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from ttame.classifiers.class_selection import ClassSelection
from ttame.classifiers.targets import Target
from ttame.errors import ExplainerError, TextError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.memory_budget import DEFAULT_BUDGET, Progress
from ttame.results.text_explanation import TextExplanation
from ttame.text_classifiers.given_texts import given_texts
from ttame.text_classifiers.long_texts import LongText
from ttame.text_classifiers.text_classifier import TextClassifier
from ttame.words.text_windows import join_windows


def explain_long_text(
    explainer: Explainer[TextClassifier],
    text: str,
    classes: ClassSelection = None,
    *,
    rather_than: int | None = None,
    batch_size: int = 8,
    memory_budget: str | int = DEFAULT_BUDGET,
    progress: Progress | bool = True,
) -> TextExplanation:
    """Explain a text of any length: the classifier reads it in windows that overlap.

    The text's class scores are the means of those of its windows, and its classes are chosen by
    them. A token that several windows hold gets the weighted mean of its scores, see
    :func:`ttame.words.text_windows.join_windows`. Each window is explained on its own: how one
    sentence acts on another far away is not seen.

    Args:
        explainer: an explainer of a classifier of texts.
        text: of any length.
        classes: as an explainer takes them.
        rather_than: a class: what speaks for ``classes`` rather than for it.
        batch_size: windows at a time.
        memory_budget: activations that a method with many passes may hold at a time.
        progress: as an explainer takes it.

    Returns:
        The explanation of one text, without special tokens. ``provenance["windows"]`` says how
        many windows there were.

    Raises:
        TextError: a pair, or a text without a word.
        ExplainerError: an explainer of a classifier of images, or a batch size below 1.
        TtameError: as the explainer.

    Example:
        >>> from ttame.explainers.known_explainers import make_explainer
        >>> from ttame.testing import tiny_text_classifier
        >>> explainer = make_explainer("input_x_gradient", tiny_text_classifier())
        >>> found = explain_long_text(explainer, "a really good film " * 20, progress=False)
        >>> found, found.provenance["windows"]
        (<TextExplanation by input_x_gradient: 1 text of 80 tokens, 1 class each>, 3)
    """
    if not isinstance(text, str):
        raise TextError(
            f"a {type(text).__name__} to be read in windows", allowed="one text, not a pair"
        )
    classifier = explainer.classifier
    _check(explainer, text, batch_size)
    long = LongText.of(classifier, text)
    logits = _mean_logits(classifier, long, batch_size)
    wanted = Target.of(classes).explained(logits, classifier.class_names).classes
    found = [
        one
        for start in range(0, len(long.pieces), batch_size)
        for one in _explained(
            explainer,
            [*long.pieces[start : start + batch_size]],
            wanted,
            rather_than,
            memory_budget=memory_budget,
            progress=progress,
        )
    ]
    return _joined(long, found, logits, classifier)


def _check(explainer: Explainer[TextClassifier], text: str, batch_size: int) -> None:
    kind, name = explainer.classifier.kind, explainer.classifier.name
    if kind != "texts":
        raise ExplainerError(
            f"{explainer.method} explains {name}, a classifier of {kind}",
            allowed="explainers of a ttame.text.TextClassifier",
        )
    if batch_size < 1:
        raise ExplainerError(f"batch_size {batch_size}", allowed="1 or more")
    given_texts(text)


def _mean_logits(classifier: TextClassifier, long: LongText, batch_size: int) -> Tensor:
    """(1, C) float32: the mean over the windows."""
    with torch.no_grad():
        rows = [
            classifier.logits(classifier.prepare([*long.pieces[start : start + batch_size]]))
            for start in range(0, len(long.pieces), batch_size)
        ]
    return torch.cat(rows).float().mean(dim=0, keepdim=True)


def _explained(
    explainer: Explainer[TextClassifier],
    pieces: list[str],
    classes: Tensor,
    rather_than: int | None,
    **how: Any,
) -> TextExplanation:
    wanted = classes.expand(len(pieces), -1)
    target = Target.of(wanted) if rather_than is None else Target.contrast(wanted, rather_than)
    return explainer(pieces, target=target, **how)


def _joined(
    long: LongText, found: list[TextExplanation], logits: Tensor, classifier: TextClassifier
) -> TextExplanation:
    """The windows' explanations as one of the whole text."""
    scores = [
        each.maps[0][:, long.places(number, each.texts[0])] for number, each in enumerate(found)
    ]
    first = found[0]
    return dataclasses.replace(
        first,
        maps=join_windows(long.windows, scores)[None],
        logits=logits,
        probabilities=classifier.outputs.probabilities(logits),
        texts=(long.tokenised,),
        provenance={**first.provenance, "windows": len(long.windows)},
        signed=any(each.signed for each in found),
    )
