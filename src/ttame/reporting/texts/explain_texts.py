"""The public way to explain many texts: the loop, and the report that it writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ttame.classifiers.class_selection import ClassSelection, class_index
from ttame.datasets.texts.text_lines import NamedText, read_text_lines, texts_fingerprint
from ttame.drawing.word_strength import WordStrength
from ttame.errors import ExplainerError, TextError
from ttame.explainers.contract.labelled_explainers import labelled_explainers
from ttame.explainers.contract.memory_budget import DEFAULT_BUDGET, parse_memory
from ttame.explaining.explained_batch import Listener, are_wanted, classes_for_all
from ttame.explaining.texts.explain_texts import (
    ExplainingTexts,
    TextExplainer,
    explain_text_batches,
)
from ttame.files.record_files import read_about, read_records
from ttame.memory_limit import SMALLER_BATCH, naming_the_setting
from ttame.networks.giving_back import gives_everything_back
from ttame.processes import ProcessGroup, noticing_lost_processes
from ttame.reporting.finding_threshold import checked_threshold
from ttame.reporting.method_label import method_labels
from ttame.reporting.texts.growing_text_report import GrowingTextReport
from ttame.reporting.texts.text_report import TextReportFacts
from ttame.reporting.told_progress import telling_of
from ttame.reporting.unfinished_report import shared_identity, shared_report
from ttame.results.explained_texts import CONTENTS, ExplainedTexts

Texts = Path | str | tuple[str, str] | Sequence[str | tuple[str, str] | NamedText]
"""A file of lines (a ``Path``), a text, a pair of texts, or a list of texts or pairs."""


@noticing_lost_processes()
@gives_everything_back
def explain_texts(
    texts: Texts,
    explainers: Any,
    out: Path | str,
    *,
    classes: ClassSelection = None,
    rather_than: str | None = None,
    threshold: float | None = None,
    batch_size: int = 8,
    memory_budget: str | int = DEFAULT_BUDGET,
    overwrite: bool = False,
    resume: bool = False,
    listener: Listener | None = None,
    left_out: Mapping[str, str] | None = None,
    title: str | None = None,
    strength: WordStrength = "own",
    progress: bool = True,
    strict: bool | None = None,
    windows: bool = False,
) -> ExplainedTexts:
    """Explain texts, and write their scores and a page with their words marked.

    Memory does not grow with the explanations, and several processes, as of ``torchrun``, share the
    batches. ``out`` appears at the end, complete, with the files that
    :mod:`ttame.reporting.texts.text_report` lists. A call that is killed leaves its finished
    batches in a hidden folder next to ``out``; the same call with ``resume=True`` continues with
    them, and writes the same files as one that was never killed.

    A text that the classifier cannot take ends the call before any work, unless it comes from a
    file: then it is skipped, and the page says why.

    Args:
        texts: a text, a pair of texts as a tuple, a list of them; or as a ``Path`` a file that
            :func:`ttame.datasets.texts.text_lines.read_text_lines` reads.
        explainers: one, several in a list, or label to explainer, of the same classifier of texts.
        out: a new folder.
        classes: the classes of every text: an int, a list of ints, ``"all"``, ``"top3"``, a class
            name or a list of names. If not given, the three most probable ones by one method (two
            of a network with two), and the most probable one by several.
        rather_than: a class: what speaks for ``classes`` rather than for it.
        threshold: the probability from which a finding counts as found, where findings do not
            exclude each other; 0.5 if not given.
        batch_size: texts at a time.
        memory_budget: activations that a method with many passes may hold at a time: bytes, or
            ``"2GiB"``.
        overwrite: replace ``out`` if it is there, once everything is explained.
        resume: continue what an earlier call left, if it left something. If everything was
            finished, nothing is done.
        listener: told how far it is.
        left_out: methods that are not defined for the classifier, with the reason, for the page.
        title: heads the page.
        strength: how words are coloured at first: ``"own"`` (each class has its own scale),
            ``"shared"`` (one scale for all classes of a text), ``"probability"`` (improbable
            classes fade) or ``"stretched"`` (from the lowest score to the highest). The page
            offers all of them.
        progress: whether to show a line that says how far it is; not where there is a listener.
        strict: whether a text that the classifier cannot take ends the call, rather than being
            skipped. If not given, it does unless the texts come from a file.
        windows: whether a text that is too long for the classifier is read in windows that overlap
            (:func:`ttame.explaining.texts.windowed_texts.explain_long_text`); pairs never are.

    Returns:
        What was written, in every process.

    Raises:
        OutputError: ``out`` exists and may not be replaced; an earlier call has left unfinished
            work and neither ``overwrite`` nor ``resume`` is set; or that is of something else; or
            another run is writing ``out``.
        TextError: no text, a text that the classifier cannot take, or no text that it can.
        DatasetError: a file without readable texts.
        ExplainerError: methods of several networks, or of a classifier of images.
        ClassSelectionError: a class that the classifier does not have, or a threshold where
            exactly one class is true.
        UnknownNameError: no such strength.
        LostProcessError: another of several processes has ended.

    Example:
        >>> import tempfile
        >>> from ttame.explainers.known_explainers import make_explainer
        >>> from ttame.testing import tiny_text_classifier
        >>> explainer = make_explainer("input_x_gradient", tiny_text_classifier())
        >>> texts = ["not a bad film", ("good music", "a dull plot")]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = explain_texts(texts, explainer, folder + "/why")
        ...     for row in found.rows():
        ...         print(row.name, "|", row.text, "|", row.pair, "|", len(row.classes))
        text 1 | not a bad film | None | 2
        text 2 | good music | a dull plot | 2
    """
    named, asked_for = named_texts(texts)
    methods = _methods(explainers)
    explaining = ExplainingTexts(
        named,
        methods,
        classes_for_all(classes, next(iter(methods.values())).classifier, len(methods)),
        _checked_batch_size(batch_size),
        _compared(rather_than, methods),
        parse_memory(memory_budget),
        asked_for if strict is None else strict,
        windows,
    )
    facts = _facts(explaining, title, left_out or {}, threshold, strength)
    out, processes = Path(out), ProcessGroup()
    with shared_report(
        out,
        processes,
        lambda: _identity(explaining, facts) if explaining.batches > 1 else {},
        overwrite=overwrite,
        resume=resume,
        is_finished=lambda: _is_finished(out / CONTENTS, explaining, facts),
    ) as place:
        if place is not None:
            report = GrowingTextReport(place, [text.name for text in named], facts)
            with (
                naming_the_setting(SMALLER_BATCH),
                telling_of(listener, [*methods], len(named), progress, "text") as told,
            ):
                processes.all(
                    lambda: explain_text_batches(
                        explaining, report, listener=told, share=processes.share
                    )
                )
                processes.first(report.complete)
    return processes.from_first(lambda: ExplainedTexts.read(out))


def named_texts(texts: Texts) -> tuple[Sequence[NamedText], bool]:
    """The texts with names, and whether each of them must be explained.

    Args:
        texts: as :func:`explain_texts` takes them.

    Raises:
        TextError: something else, or nothing.
        DatasetError: a file without readable texts.

    Example:
        >>> named_texts(("a man eats", "somebody eats"))
        ([NamedText(name='text 1', text='a man eats', pair='somebody eats')], True)
    """
    if isinstance(texts, Path):
        return read_text_lines(texts), False
    one = isinstance(texts, str | NamedText) or (
        isinstance(texts, tuple)
        and len(texts) == 2
        and all(isinstance(each, str) for each in texts)
    )
    several: Any = [texts] if one else texts
    if not isinstance(several, list | tuple) or not several:
        raise TextError(
            f"{'an empty list' if isinstance(several, list | tuple) else type(texts).__name__} "
            "as texts",
            allowed="a text, a pair as a tuple of two texts, a list of them, or the Path of a file",
        )
    return [_one(each, number) for number, each in enumerate(several, start=1)], True


def _one(given: Any, number: int) -> NamedText:
    if isinstance(given, NamedText):
        return given
    parts = (given,) if isinstance(given, str) else given
    if (
        not isinstance(parts, tuple | list)
        or len(parts) not in (1, 2)
        or not all(isinstance(part, str) for part in parts)
    ):
        raise TextError(
            f"a {type(given).__name__} as text {number}", allowed="a text, or a tuple of two texts"
        )
    return NamedText(f"text {number}", *parts)


def _methods(explainers: Any) -> Mapping[str, TextExplainer]:
    """Label to explainer, all of one classifier of texts."""
    labelled: dict[str, Any] = dict(labelled_explainers(explainers))
    if not labelled:
        raise ExplainerError("no method to explain with", allowed="at least one explainer")
    first = next(iter(labelled))
    classifier = labelled[first].classifier
    if classifier.kind != "texts":
        raise ExplainerError(
            f"{first} explains {classifier.name}, a classifier of {classifier.kind}",
            allowed="explainers of a ttame.text.TextClassifier",
        )
    for label, explainer in labelled.items():
        if explainer.classifier.network is not classifier.network:
            raise ExplainerError(
                f"{label} explains another network than {first}",
                allowed="methods of one classifier",
                remedy="make_explainer(name, classifier) with the same classifier",
            )
    return labelled


def _checked_batch_size(batch_size: int) -> int:
    if batch_size < 1:
        raise ExplainerError(f"batch_size {batch_size}", allowed="1 or more")
    return batch_size


def _compared(rather_than: str | None, methods: Mapping[str, TextExplainer]) -> int | None:
    classifier = next(iter(methods.values())).classifier
    if rather_than is None:
        return None
    return class_index(rather_than, classifier.class_names, classifier.number_of_classes)


def _facts(
    explaining: ExplainingTexts,
    title: str | None,
    left_out: Mapping[str, str],
    threshold: float | None,
    strength: WordStrength,
) -> TextReportFacts:
    """What a report says as a whole of what is explained."""
    classifier, other = explaining.classifier, explaining.rather_than
    return TextReportFacts(
        methods={label: each.provenance() for label, each in explaining.explainers.items()},
        labels=method_labels(explaining.explainers),
        title=title or f"Why did {classifier.name} say that?",
        left_out=left_out,
        rather_than=None if other is None else classifier.class_label(other),
        threshold=checked_threshold(threshold, classifier),
        strength=strength,
        reading=_reading(explaining),
    )


def _reading(explaining: ExplainingTexts) -> dict[str, str | int]:
    """How texts become what the network reads."""
    tokenising = explaining.classifier.tokenising
    return {
        "tokenizer": tokenising.fingerprint(),
        "most_tokens": tokenising.most,
        "too_long": "windows" if explaining.windows else tokenising.too_long,
    }


def _identity(explaining: ExplainingTexts, facts: TextReportFacts) -> dict[str, Any]:
    """What a later run must have in common to go on."""
    return {
        **shared_identity(explaining),
        **facts.reading,
        "texts": texts_fingerprint(explaining.texts),
        "threshold": facts.threshold,
        "drawn": facts.strength,
    }


def _is_finished(path: Path, explaining: ExplainingTexts, facts: TextReportFacts) -> bool:
    """Whether a file holds explanations of these texts by these methods already."""
    about = read_about(path, "texts")
    wanted = json.loads(json.dumps(facts.as_json(), default=str))
    same = ("kind", "methods", "rather_than", "threshold", "strength", "reading")
    if any(about.get(name) != wanted.get(name) for name in same):
        return False
    skipped = {record["name"] for record in read_records(path, "not_explained")}
    there = iter(read_records(path, "texts"))
    for text in explaining.texts:
        if text.name in skipped:
            continue
        record = next(there, None)
        if record is None or (record["text"], record["pair"]) != (text.text, text.pair):
            return False
        if not are_wanted(explaining.classes, [each["index"] for each in record["classes"]]):
            return False
    return next(there, None) is None
