"""``ttame evaluate --text-data``."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttame.cli.method_options import MethodOptions
from ttame.cli.network_options import NamedClassifier, read_class_names
from ttame.errors import EvaluationError
from ttame.files.printable_names import printable

if TYPE_CHECKING:
    from ttame.results.evaluation import Evaluation
    from ttame.text_classifiers.text_classifier import TextClassifier

QUICK_TEXT_METHODS = (
    "transformer_attribution",
    "generic_attention",
    "attention_rollout",
    "input_x_gradient",
    "random",
)
"""What is compared on texts if no method is named; those that explain the classifier."""

_FOR_TEXTS = ("class_names", "outputs")
"""Details of a classifier that mean something where it classifies texts."""


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
    asked: TextsAsked, said: MethodOptions, named: NamedClassifier, of_photos: Mapping[str, Any]
) -> None:
    """Evaluate on texts, print the table and write the page.

    Args:
        asked: what was typed.
        said: what was typed of methods.
        named: the classifier.
        of_photos: options that only photos have, to what was typed.

    Raises:
        TtameError: whatever was typed does not exist or does not fit together.
    """
    from ttame.cli.chosen_explainers import choose_methods
    from ttame.cli.evaluation_display import print_evaluation
    from ttame.datasets.texts.annotated_texts import AnnotatedTexts
    from ttame.processes import is_first_process

    _refuse_photo_options({**of_photos, **_pixel_details(named)})
    labels = parse_label_classes(asked.label_class)
    texts = AnnotatedTexts(asked.data)
    classifier = load_text_classifier(named)
    names = said.method_names()
    explainers, left_out = choose_methods(
        names or QUICK_TEXT_METHODS, classifier, said.option or (), not names
    )
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


def load_text_classifier(named: NamedClassifier) -> TextClassifier:
    """Load the classifier of texts that was typed; the end of long texts is cut off.

    Raises:
        TtameError: as :func:`ttame.text.load`; or none was typed.
    """
    from ttame.text_classifiers.sequence_classifiers import load

    if named.model is None:
        raise EvaluationError("--text-data without --model", remedy="--model hf/FOLDER")
    names = named.details["class_names"]
    classifier = load(
        named.model,
        class_names=None if names is None else read_class_names(names),
        outputs=named.details["outputs"],
        too_long="truncate",
    )
    classifier.network.to(named.device)
    return classifier


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


def _pixel_details(named: NamedClassifier) -> dict[str, Any]:
    weights = None if named.weights == "default" else named.weights
    others = {name: value for name, value in named.details.items() if name not in _FOR_TEXTS}
    return {"weights": weights, **others}


def _refuse_photo_options(typed: Mapping[str, Any]) -> None:
    for name, value in typed.items():
        if value:
            raise EvaluationError(
                f"--{name.replace('_', '-')} with --text-data",
                allowed="what evaluations on texts have a use for",
                remedy="the same command without it",
            )
