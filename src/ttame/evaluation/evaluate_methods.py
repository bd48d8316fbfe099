"""One call from photos and methods to a table."""

from __future__ import annotations

import datetime
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ttame.classifiers.classifier import Classifier
from ttame.classifiers.given_network import refuse_other_than_classifier
from ttame.datasets.named_photos import open_named_photos
from ttame.errors import (
    EvaluationError,
    UnknownNameError,
    either,
)
from ttame.evaluation.evaluation_run import measure_methods
from ttame.evaluation.family_standings import family_standings, standings_in_words
from ttame.evaluation.judge import refuse_other_classes
from ttame.evaluation.listening import told
from ttame.evaluation.measuring import Listener, Measuring, Targets, checked_batch_size, spread
from ttame.evaluation.protocol_words import protocol_in_words
from ttame.evaluation.reader_notes import (
    fewer_images,
    gate_in_words,
    judge_in_words,
    meaning_in_words,
    unfinished_in_words,
)
from ttame.evaluation.run_folder import begin_run, write_results
from ttame.evaluation.sanity import check_sanity, sanity_scores
from ttame.evaluation.summary import (
    MeasuredMethod,
    column_facts,
    found_methods,
    method_rows,
    scores_of,
)
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.labelled_explainers import labelled_explainers, refuse_other_networks
from ttame.explainers.contract.memory_budget import DEFAULT_BUDGET, parse_memory
from ttame.files.printable_names import printable
from ttame.files.sole_use import FolderUse
from ttame.memory_limit import SMALLER_BATCH, naming_the_setting
from ttame.metrics.judged_metrics import with_judged
from ttame.metrics.known_metrics import METRICS, columns_of, known_metrics
from ttame.metrics.known_protocols import known_protocol
from ttame.metrics.metric import Column, Metric
from ttame.metrics.protocol import Protocol
from ttame.networks.giving_back import gives_everything_back
from ttame.outputs import SOFTMAX
from ttame.processes import ProcessGroup, noticing_lost_processes
from ttame.results.evaluation import Evaluation, RandomisationScore, Score


@noticing_lost_processes()
@gives_everything_back
def evaluate(
    classifier: Classifier,
    data: Any,
    methods: Mapping[str, Explainer] | Sequence[Explainer] | Explainer,
    out: Path | str,
    *,
    protocol: str | Protocol = "t-tame",
    metrics: Sequence[str] | None = None,
    limit: int | None = None,
    batch_size: int = 8,
    targets: Targets | None = None,
    annotations: str = "",
    judge: Classifier | None = None,
    resume: bool = False,
    listener: Listener | None = None,
    left_out: Mapping[str, str] | None = None,
    published: Mapping[str, Mapping[str, float]] | None = None,
    notes: Sequence[str] = (),
    sanity_images: int = 0,
    data_name: str | None = None,
    memory_budget: str | int = DEFAULT_BUDGET,
    progress: bool = True,
) -> Evaluation:
    """Find out which method is most faithful on your network and your images.

    Every method explains the same class of the same images of the same network. Rows appear batch
    by batch in ``out/rows``; a killed call continues with ``resume=True``. At the end ``out`` holds
    ``results.json`` and ``rows.parquet``. Memory does not grow with the number of images, up to
    the numbers of one method, read back for the table.

    Args:
        classifier: the explained network.
        data: whatever :func:`ttame.datasets.open_photos.open_photos` takes, or a list of the paths
            of photos, all of which must be readable.
        methods: label to explainer, of this classifier; or one explainer, or several in a list.
        out: a new folder, or with ``resume`` the one of an earlier run with the same data,
            protocol and metrics; methods may be added.
        protocol: a preset's name, or your own.
        metrics: names; the protocol's if not given.
        limit: how many images, evenly spread over the data; all if not given.
        batch_size: images at a time.
        targets: where annotated objects are; see ``measuring.Targets``.
        annotations: what the targets come from, so that a resumed run uses the same.
        judge: a second classifier with the same classes. Metrics that ask for probabilities are
            measured with its probabilities as well, in columns that begin with ``judged.``: maps
            and explained classes are those of ``classifier``.
        resume: whether ``out`` may hold results.
        listener: told how far it is.
        left_out: methods that are not defined for this classifier, with the reason.
        published: label to column to a published number.
        notes: sentences for the reader.
        sanity_images: on how many images to check that maps change when the network's weights are
            randomised; see :mod:`ttame.evaluation.randomisation`. A protocol may ask for more.
        data_name: how the results call the data; made from ``data`` if not given.
        memory_budget: activations that a method with many passes may hold at a time: bytes, or
            ``"2GiB"``.
        progress: whether to show a line that says how far it is; not where there is a listener.

    Raises:
        UnknownNameError: no such protocol or metric.
        ExplainerError: a method of another network.
        EvaluationError: a classifier of texts; ``out`` holds other results; a metric needs
            annotations and there are none; the judge has other classes; probabilities that are not
            numbers. What was measured before is kept.
        OutputError: ``out`` cannot be made, or another run is writing it.
        DatasetError: no photos.
        LostProcessError: another of several processes has ended.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from ttame.explainers.known_explainers import make_explainer
        >>> from ttame.testing import tiny_classifier
        >>> classifier = tiny_classifier(size=32)
        >>> photos = list(torch.randint(256, (8, 3, 32, 32), dtype=torch.uint8))
        >>> methods = {name: make_explainer(name, classifier) for name in ("grad_cam", "random")}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = evaluate(classifier, photos, methods, folder + "/evaluation")
        >>> [(method.name, method.scores["average_drop@50"].images) for method in found.methods]
        [('grad_cam', 8), ('random', 8)]
    """
    _refuse_other_than_of_photos(classifier)
    methods = labelled_explainers(methods)
    if not methods:
        raise EvaluationError(
            "no method to evaluate",
            remedy=either("methods={'grad_cam': grad_cam}", "--methods grad_cam,rise"),
        )
    refuse_other_networks(methods, classifier)
    chosen = known_protocol(protocol) if isinstance(protocol, str) else protocol
    measured_metrics = known_metrics(_usual(chosen, targets) if metrics is None else metrics)
    _check_metrics(measured_metrics, targets)
    if judge is not None:
        refuse_other_than_classifier(judge)
        refuse_other_classes(classifier, judge)
        measured_metrics = with_judged(measured_metrics)
    photos = open_named_photos(data)
    out = Path(out)
    measuring = Measuring(
        classifier=classifier,
        photos=photos,
        numbers=spread(len(photos), limit),
        protocol=chosen,
        metrics=measured_metrics,
        batch_size=checked_batch_size(batch_size),
        folder=out,
        targets=targets,
        memory_budget=parse_memory(memory_budget),
        judge=judge,
    )
    identity = {**_identity(measuring), "annotations": annotations}
    process = ProcessGroup()
    with (
        naming_the_setting(SMALLER_BATCH),
        FolderUse(out) as use,
        told(listener, methods, progress) as listener,
    ):
        process.first(lambda: begin_run(out, use, identity, methods, resume=resume))
        process.all(
            lambda: measure_methods(measuring, methods, listener=listener, share=process.share)
        )
        checked = max(sanity_images, chosen.gate_images if _gated(measuring) else 0)
        process.first(lambda: check_sanity(measuring, methods, checked, listener))
        evaluation = summarise(
            measuring,
            data=printable(data_name or _words_of(data)),
            left_out=left_out or {},
            published=published or {},
            notes=notes,
        )
        process.first(lambda: write_results(out, evaluation))
    return evaluation


def _refuse_other_than_of_photos(classifier: Classifier) -> None:
    refuse_other_than_classifier(classifier)
    if classifier.kind != "images":
        raise EvaluationError(
            f"photos for {classifier.name}, a classifier of {classifier.kind}",
            remedy=either("ttame.text.evaluate_texts(...)", "--text-data REVIEWS"),
        )


def _identity(measuring: Measuring) -> dict[str, Any]:
    """What all results in a folder must have in common."""
    classifier, protocol = measuring.classifier, measuring.protocol
    return {
        "classifier": classifier.name,
        "classifier_fingerprint": classifier.fingerprint(),
        "preprocessing": classifier.preprocessing.in_words(),
        # Softmax goes without saying, so that older results go on.
        **({} if classifier.outputs is SOFTMAX else {"outputs": classifier.outputs.kind}),
        "data": measuring.photos.fingerprint(),
        "images": len(measuring.numbers),
        "protocol": f"{protocol.name} {protocol.hash}",
        "metrics": sorted(metric.name for metric in measuring.metrics),
        "batch_size": measuring.batch_size,
        **({} if measuring.judge is None else {"judge": measuring.judge.fingerprint()}),
    }


def _usual(protocol: Protocol, targets: Targets | None) -> tuple[str, ...]:
    """What the protocol measures of data that are annotated, or not."""
    return protocol.metrics + (() if targets is None else protocol.annotated_metrics)


def _gated(measuring: Measuring) -> bool:
    return any(metric.gated for metric in measuring.metrics)


def _check_metrics(metrics: Sequence[Metric], targets: Targets | None) -> None:
    if not metrics:
        raise UnknownNameError("no metric to measure", allowed=", ".join(METRICS))
    needing = [metric.name for metric in metrics if "targets" in metric.needs]
    if needing and targets is None:
        raise EvaluationError(
            f"{', '.join(needing)} without annotations",
            remedy=f"{either('targets', '--annotations')} with a COCO JSON file, a folder of VOC "
            "XML files or of masks",
        )


def summarise(
    measuring: Measuring,
    *,
    data: str = "",
    left_out: Mapping[str, str] | None = None,
    published: Mapping[str, Mapping[str, float]] | None = None,
    notes: Sequence[str] = (),
) -> Evaluation:
    """Read everything that was measured in a folder, in this run or before, and make the table.

    A method that an interrupted run left unfinished is named in the notes.

    Raises:
        EvaluationError: nothing was measured, or a file is damaged.
    """
    found = found_methods(measuring.folder, len(measuring.numbers), measuring.batch_size)
    measured = found.measured
    images = max((len(method.images) for method in measured), default=0)
    if not images:
        raise EvaluationError(
            f"none of the {len(measuring.numbers)} photos is readable",
            remedy="JPEG, PNG or WebP files",
        )
    columns = columns_of(measuring.metrics, measuring.protocol)
    sanity = sanity_scores(measuring.folder)
    scores = _scores(measured, columns, sanity)
    rows = method_rows(measured, found.known, scores, published or {}, sanity)
    skipped = dict(pair for method in measured for fact in method.facts for pair in fact.skipped)
    return Evaluation(
        classifier=measuring.classifier.name,
        classifier_fingerprint=measuring.classifier.fingerprint(),
        data=data,
        data_fingerprint=measuring.photos.fingerprint(),
        images=images,
        skipped=tuple(skipped.items()),
        protocol=measuring.protocol.name,
        protocol_hash=measuring.protocol.hash,
        protocol_settings=measuring.protocol.settings(),
        protocol_words=protocol_in_words(measuring.protocol, measuring.metrics),
        columns=tuple(fact for fact in column_facts(columns) if any(scores[fact.key])),
        methods=rows,
        left_out={name: why for name, why in (left_out or {}).items() if name not in found.known},
        notes=(
            *meaning_in_words(measuring.classifier),
            *notes,
            *judge_in_words(measuring.judge),
            *_comparing(measuring, measured, sanity),
            *unfinished_in_words(found.unfinished),
            *fewer_images(images, columns, scores),
        ),
        machine=machine_in_words(measuring.classifier.device),
        date=datetime.date.today().isoformat(),
    )


def _scores(
    measured: Sequence[MeasuredMethod],
    columns: Mapping[str, tuple[Metric, Column]],
    sanity: Mapping[str, RandomisationScore],
) -> dict[str, dict[str, Score]]:
    """Column to label to score; gated columns are of methods that did not fail the check."""
    passed = _passed(measured, sanity)
    return {
        key: scores_of(passed if metric.gated else measured, metric, column)
        for key, (metric, column) in columns.items()
    }


def _comparing(
    measuring: Measuring,
    measured: Sequence[MeasuredMethod],
    sanity: Mapping[str, RandomisationScore],
) -> list[str]:
    """Who passed the gate, and who is better than whom."""
    labels = [method.label for method in measured]
    return [
        *gate_in_words(measuring.metrics, labels, sanity),
        *standings_in_words(family_standings(_passed(measured, sanity))),
    ]


def _passed(
    measured: Sequence[MeasuredMethod], sanity: Mapping[str, RandomisationScore]
) -> list[MeasuredMethod]:
    return [m for m in measured if m.label not in sanity or sanity[m.label].passed]


def _words_of(data: Any) -> str:
    if isinstance(data, str | Path):
        return Path(data).name or str(data)
    if isinstance(data, list | tuple) and all(isinstance(place, str | Path) for place in data):
        return ", ".join(Path(place).name for place in data)
    return type(data).__name__


def machine_in_words(device: torch.device | str = "cpu") -> str:
    """The device that did the work, and versions, for comparing times."""
    if torch.device(device).type == "cuda":
        worker = torch.cuda.get_device_name(device)
    else:
        threads = torch.get_num_threads()
        worker = f"{_processor()}, {threads} thread{'s' if threads > 1 else ''}"
    return f"{worker}; torch {torch.__version__}, Python {platform.python_version()}"


def _processor() -> str:
    try:
        facts = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # there is none outside Linux
        facts = ""
    found = re.search(r"model name\s*: (.+)", facts)
    return found[1].strip() if found else platform.processor() or platform.machine()
