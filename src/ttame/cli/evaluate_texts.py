"""``ttame evaluate --text-data``."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttame.cli.method_options import MethodOptions
from ttame.errors import EvaluationError
from ttame.files.printable_names import printable

if TYPE_CHECKING:
    from ttame.results.evaluation import Evaluation
    from ttame.text_classifiers.text_classifier import TextClassifier

QUICK_TEXT_METHODS = (
    "transformer_attribution,generic_attention,attention_rollout,input_x_gradient,random"
)
"""What is compared on texts if no method is named."""


@dataclasses.dataclass(frozen=True)
class TextsAsked:
    """What was typed behind ``ttame evaluate --text-data``.

    Attributes:
        data: the file of texts.
        out: folder of the evaluation.
        protocol: name of a preset; ``None`` for the usual one.
        metrics: between commas; ``None`` for the protocol's.
        limit: how many texts.
        resume: whether ``out`` may hold results.
        batch_size: texts at a time.
        label_class: ``LABEL=CLASS`` each.
    """

    data: Path
    out: Path
    protocol: str | None
    metrics: str | None
    limit: int | None
    resume: bool
    batch_size: int
    label_class: Sequence[str]


def evaluate_text_data(
    asked: TextsAsked, model: str | None, typed: Mapping[str, Any], of_photos: Mapping[str, Any]
) -> None:
    """Evaluate on texts, print the table and write the page.

    Args:
        asked: what was typed.
        model: name of the classifier; the one that ships with ttame if nothing was typed.
        typed: what was typed of methods and of the classifier.
        of_photos: options that only photos have, to what was typed.

    Raises:
        TtameError: whatever was typed does not exist or does not fit together.
    """
    from ttame.cli.evaluation_display import print_evaluation
    from ttame.cli.text_networks import choose_text_explainers
    from ttame.datasets.texts.annotated_texts import AnnotatedTexts
    from ttame.processes import is_first_process

    _refuse_photo_options(of_photos)
    labels = parse_label_classes(asked.label_class)
    said = MethodOptions.of(typed)
    if not said.method_names():
        said = dataclasses.replace(said, methods=QUICK_TEXT_METHODS)
    texts = AnnotatedTexts(asked.data)
    # A trained explainer's classifier treats long texts as it did in training.
    too_long = None if said.explainer and model is None else "truncate"
    classifier, explainers, left_out = choose_text_explainers(said, model, typed, too_long=too_long)
    evaluation = _evaluate(
        asked,
        classifier,
        texts,
        explainers,
        label_classes=labels,
        left_out=left_out,
        memory_budget=said.memory_budget_in_bytes(),
    )
    if is_first_process():
        print_evaluation(evaluation, asked.out)


def _evaluate(
    asked: TextsAsked, classifier: TextClassifier, texts: Any, explainers: Any, **options: Any
) -> Evaluation:
    """Evaluate with a line of progress, and write the page."""
    from ttame.evaluation.texts.evaluate_texts import evaluate_texts
    from ttame.metrics.texts.known_text_protocols import DEFAULT_TEXT_PROTOCOL
    from ttame.processes import is_first_process
    from ttame.reporting.evaluation_report import write_evaluation_report

    metrics = [name.strip() for name in (asked.metrics or "").split(",") if name.strip()]
    evaluation = evaluate_texts(
        classifier,
        texts,
        explainers,
        asked.out,
        protocol=asked.protocol or DEFAULT_TEXT_PROTOCOL,
        metrics=metrics or None,
        limit=asked.limit,
        batch_size=asked.batch_size,
        resume=asked.resume,
        **options,
    )
    if is_first_process():
        command = printable(shlex.join(["ttame", *sys.argv[1:]]))
        write_evaluation_report(asked.out / "report.html", evaluation, command=command)
    return evaluation


def parse_label_classes(pairs: Sequence[str]) -> dict[str, int | str]:
    """Read ``LABEL=CLASS`` pairs; a class is a number or a name.

    Raises:
        EvaluationError: a pair without ``=``.

    Example:
        >>> parse_label_classes(["pos=1", "neg=negative"])
        {'pos': 1, 'neg': 'negative'}
    """
    found: dict[str, int | str] = {}
    for pair in pairs:
        label, equals, meant = pair.rpartition("=")
        if not equals or not label or not meant:
            raise EvaluationError(
                f"--label-class {printable(pair)!r}", allowed="LABEL=CLASS", remedy="pos=1"
            )
        found[label] = int(meant) if meant.isascii() and meant.isdigit() else meant
    return found


def _refuse_photo_options(typed: Mapping[str, Any]) -> None:
    for name, value in typed.items():
        if value:
            raise EvaluationError(
                f"--{name.replace('_', '-')} with --text-data",
                allowed="what evaluations on texts have a use for",
                remedy="the same command without it",
            )
