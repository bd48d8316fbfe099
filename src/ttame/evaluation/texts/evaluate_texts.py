"""One call from texts and methods to a table."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ttame.datasets.texts.annotated_texts import AnnotatedTexts
from ttame.errors import EvaluationError, TextError, UnknownNameError, either, kind_of, setting
from ttame.evaluation.evaluate_methods import machine_in_words
from ttame.evaluation.listening import told
from ttame.evaluation.measuring import Listener, checked_batch_size, spread
from ttame.evaluation.reader_notes import unfinished_in_words
from ttame.evaluation.run_folder import begin_run, write_results
from ttame.evaluation.summary import (
    MeasuredMethod,
    column_facts,
    found_methods,
    method_rows,
    scores_of,
)
from ttame.evaluation.texts.label_classes import LabelClasses, label_class
from ttame.evaluation.texts.measuring_texts import MeasuringTexts
from ttame.evaluation.texts.text_protocol_words import text_protocol_in_words
from ttame.evaluation.texts.text_run import IS_CUT, IS_RIGHT, measure_texts
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.labelled_explainers import labelled_explainers, refuse_other_networks
from ttame.explainers.contract.memory_budget import DEFAULT_BUDGET, parse_memory
from ttame.files.printable_names import printable
from ttame.files.sole_use import FolderUse
from ttame.memory_limit import SMALLER_BATCH, naming_the_setting
from ttame.metrics.metric import Column
from ttame.metrics.texts.known_text_metrics import TEXT_METRICS, known_text_metrics
from ttame.metrics.texts.known_text_protocols import TEXT_PROTOCOLS, known_text_protocol
from ttame.metrics.texts.text_metric import TextMetric
from ttame.metrics.texts.text_protocol import TextProtocol
from ttame.networks.giving_back import gives_everything_back
from ttame.outputs import SOFTMAX
from ttame.processes import ProcessGroup, noticing_lost_processes
from ttame.results.evaluation import Evaluation
from ttame.text_classifiers.given_texts import naming_the_text
from ttame.text_classifiers.text_classifier import TextClassifier


@noticing_lost_processes()
@gives_everything_back
def evaluate_texts(
    classifier: TextClassifier,
    data: AnnotatedTexts | Path | str,
    methods: Mapping[str, Explainer] | Sequence[Explainer] | Explainer,
    out: Path | str,
    *,
    protocol: str | TextProtocol = "chefer-text",
    metrics: Sequence[str] | None = None,
    limit: int | None = None,
    batch_size: int = 8,
    label_classes: LabelClasses | None = None,
    resume: bool = False,
    listener: Listener | None = None,
    left_out: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    data_name: str | None = None,
    memory_budget: str | int = DEFAULT_BUDGET,
    progress: bool = True,
) -> Evaluation:
    """Find out which method is most faithful on your texts, and which finds the marked words.

    Every method explains the same class of the same texts of the same network. Rows appear batch
    by batch in ``out/rows``; a killed call continues with ``resume=True``. At the end ``out`` holds
    ``results.json`` and ``rows.parquet``, as after :func:`ttame.evaluate`.

    Args:
        classifier: the explained network.
        data: texts with labels and perhaps rationales, or the file of JSON lines that holds them.
        methods: label to explainer, of this classifier; or one explainer, or several in a list.
        out: a new folder, or with ``resume`` the one of an earlier run with the same data,
            protocol and metrics; methods may be added.
        protocol: a preset's name, or your own.
        metrics: names; the protocol's if not given, those of rationales only where some are
            annotated.
        limit: how many texts, evenly spread over the data; all if not given.
        batch_size: texts at a time.
        label_classes: label of the data to the class of the classifier that it means, by number or
            name; needed where their names differ.
        resume: whether ``out`` may hold results.
        listener: told how far it is.
        left_out: methods that are not defined for this classifier, with the reason.
        notes: sentences for the reader.
        data_name: how the results call the data; made from ``data`` if not given.
        memory_budget: activations that a method with many passes may hold at a time: bytes, or
            ``"2GiB"``.
        progress: whether to show a line that says how far it is; not where there is a listener.

    Raises:
        UnknownNameError: no such protocol or metric.
        ExplainerError: a method of another network.
        EvaluationError: a classifier of images; ``out`` holds other results; a metric needs
            rationales and there are none; a label is missing or means no class; probabilities that
            are not numbers. What was measured before is kept.
        OutputError: ``out`` cannot be made, or another run is writing it.
        DatasetError: the data cannot be read.
        TextError: a text that the classifier does not take, which is found before any work.
        LostProcessError: another of several processes has ended.

    Example:
        >>> import tempfile
        >>> from ttame.explainers.known_explainers import make_explainer
        >>> from ttame.testing import tiny_text_classifier
        >>> classifier = tiny_text_classifier()
        >>> methods = {name: make_explainer(name, classifier) for name in ("occlusion", "random")}
        >>> line = '{"label": "pos", "tokens": "a fine film", "rationales": [[1, 2]]}'
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "reviews.jsonl").write_text(line)
        ...     reviews = AnnotatedTexts(folder + "/reviews.jsonl")
        ...     found = evaluate_texts(classifier, reviews, methods, folder + "/evaluation")
        >>> [(method.name, method.scores["token_f1"].images) for method in found.methods]
        [('occlusion', 1), ('random', 1)]
    """
    if getattr(classifier, "kind", None) != "texts":
        raise EvaluationError(
            f"texts for {getattr(classifier, 'name', type(classifier).__name__)}",
            allowed="a classifier of texts, ttame.text.TextClassifier",
        )
    methods = labelled_explainers(methods)
    if not methods:
        raise EvaluationError(
            "no method to evaluate",
            remedy=either(
                "methods={'transformer_attribution': attribution}",
                "--methods transformer_attribution,random",
            ),
        )
    refuse_other_networks(methods, classifier)
    texts = data if isinstance(data, AnnotatedTexts) else AnnotatedTexts(data)
    chosen = _protocol(protocol)
    out = Path(out)
    numbers = spread(len(texts), limit)
    _refuse_texts_that_are_not_taken(classifier, texts, numbers)
    measuring = MeasuringTexts(
        classifier=classifier,
        texts=texts,
        numbers=numbers,
        labels=_labels(classifier, texts, numbers, chosen, label_classes or {}),
        protocol=chosen,
        metrics=_metrics(chosen, metrics, texts, numbers),
        batch_size=checked_batch_size(batch_size),
        folder=out,
        memory_budget=parse_memory(memory_budget),
    )
    identity = _identity(measuring)
    process = ProcessGroup()
    with (
        naming_the_setting(SMALLER_BATCH),
        FolderUse(out) as use,
        told(listener, methods, progress, "texts") as listener,
    ):
        process.first(lambda: begin_run(out, use, identity, methods, resume=resume))
        process.all(
            lambda: measure_texts(measuring, methods, listener=listener, share=process.share)
        )
        evaluation = summarise_texts(
            measuring,
            data=printable(data_name or texts.path.name),
            left_out=left_out or {},
            notes=notes,
        )
        process.first(lambda: write_results(out, evaluation))
    return evaluation


def _protocol(given: str | TextProtocol) -> TextProtocol:
    if isinstance(given, str):
        return known_text_protocol(given)
    if not isinstance(given, TextProtocol):
        raise UnknownNameError(
            f"{kind_of(given)} as a protocol of texts", allowed=", ".join(TEXT_PROTOCOLS)
        )
    return given


def _refuse_texts_that_are_not_taken(
    classifier: TextClassifier, texts: AnnotatedTexts, numbers: Sequence[int]
) -> None:
    """Before any work, because every method must explain the same texts."""
    for number in numbers:
        try:
            classifier.tokenise(texts[number].text)
        except TextError as problem:
            raise naming_the_text(problem, f"text {printable(texts[number].key)!r}") from problem


def _metrics(
    protocol: TextProtocol,
    names: Sequence[str] | None,
    texts: AnnotatedTexts,
    numbers: Sequence[int],
) -> tuple[TextMetric, ...]:
    """Those that were asked for, or those of the protocol that the data allow."""
    annotated = any(texts[number].rationales is not None for number in numbers)
    usual = (protocol.rationale_metrics if annotated else ()) + protocol.metrics
    found = known_text_metrics(usual if names is None else names)
    if not found:
        raise UnknownNameError("no metric to measure", allowed=", ".join(TEXT_METRICS))
    needing = [metric.name for metric in found if metric.needs_rationales]
    if needing and not annotated:
        raise EvaluationError(
            f"{', '.join(needing)} without rationales",
            allowed="data in which the words are marked that are the reason for the label",
            remedy=setting("metrics", list(protocol.metrics)),
        )
    return found


def _labels(
    classifier: TextClassifier,
    texts: AnnotatedTexts,
    numbers: Sequence[int],
    protocol: TextProtocol,
    given: LabelClasses,
) -> tuple[int, ...]:
    """The class of each text's label, -1 without one, or where nobody needs to know it."""
    needed = protocol.explained_class == "label"
    names, count = classifier.class_names, classifier.number_of_classes
    known: dict[str | int | None, int] = {None: -1}
    for number in numbers:
        label = texts[number].label
        if label is None and needed:
            raise EvaluationError(
                f"text {printable(texts[number].key)!r} has no label, whose class the protocol "
                f"{protocol.name} explains",
                remedy=setting("protocol", "eraser"),
            )
        if label is not None and label not in known:
            with contextlib.suppress(*(() if needed else (EvaluationError,))):
                known[label] = label_class(label, names, count, given)
    return tuple(known.get(texts[number].label, -1) for number in numbers)


def _identity(measuring: MeasuringTexts) -> dict[str, Any]:
    """What all results in a folder must have in common."""
    classifier, protocol = measuring.classifier, measuring.protocol
    return {
        "classifier": classifier.name,
        "classifier_fingerprint": classifier.fingerprint(),
        "preprocessing": f"texts of at most {classifier.most_tokens} tokens",
        "tokenizer": classifier.tokenising.fingerprint(),
        **({} if classifier.outputs is SOFTMAX else {"outputs": classifier.outputs.kind}),
        "data": measuring.texts.fingerprint(),
        "images": len(measuring.numbers),
        "protocol": f"{protocol.name} {protocol.hash}",
        "metrics": sorted(metric.name for metric in measuring.metrics),
        "batch_size": measuring.batch_size,
        "annotations": "",
    }


def summarise_texts(
    measuring: MeasuringTexts,
    *,
    data: str = "",
    left_out: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> Evaluation:
    """Read everything that was measured in a folder, in this run or before, and make the table.

    A method that an interrupted run left unfinished is named in the notes.

    Raises:
        EvaluationError: a file is damaged.
    """
    found = found_methods(measuring.folder, len(measuring.numbers), measuring.batch_size)
    measured = found.measured
    columns = {m.name: (m, Column(m.name, m.title)) for m in measuring.metrics}
    scores = {key: scores_of(measured, metric, column) for key, (metric, column) in columns.items()}
    return Evaluation(
        classifier=measuring.classifier.name,
        classifier_fingerprint=measuring.classifier.fingerprint(),
        data=data,
        data_fingerprint=measuring.texts.fingerprint(),
        images=len(measuring.numbers),
        skipped=(),
        protocol=measuring.protocol.name,
        protocol_hash=measuring.protocol.hash,
        protocol_settings=measuring.protocol.settings(),
        protocol_words=text_protocol_in_words(measuring.protocol, measuring.metrics),
        columns=tuple(fact for fact in column_facts(columns) if any(scores[fact.key])),
        methods=method_rows(measured, found.known, scores, {}, {}),
        left_out={name: why for name, why in (left_out or {}).items() if name not in found.known},
        notes=(
            *notes,
            *_facts_in_words(measured[:1]),
            *unfinished_in_words(found.unfinished),
        ),
        machine=machine_in_words(measuring.classifier.device),
        date=datetime.date.today().isoformat(),
        kind="texts",
    )


def _facts_in_words(measured: Sequence[MeasuredMethod]) -> Iterator[str]:
    """How often the classifier is right, and of how many texts it read all words."""
    for method in measured:
        right = method.values[IS_RIGHT]
        labelled = int((~np.isnan(right)).sum())
        if labelled:
            yield (
                f"the classifier predicts the label of {int(np.nansum(right))} of the {labelled} "
                "labelled texts"
            )
        cut = int(method.values[IS_CUT].sum())
        if cut:
            yield (
                f"{cut} {'text is' if cut == 1 else 'texts are'} longer than the classifier reads; "
                "words beyond that have no "
                "score, and count as missed where people marked them"
            )
