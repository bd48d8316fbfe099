"""The public way to explain many photos: the loop, and the report that it writes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ttame.classifiers.class_selection import ClassSelection
from ttame.datasets.name_list import NameList
from ttame.drawing.colour_scales import DEFAULT_SCALE
from ttame.drawing.heatmap_overlay import DEFAULT_OPACITY
from ttame.drawing.map_strength import Strength
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.memory_budget import DEFAULT_BUDGET, parse_memory
from ttame.explaining.explain_photos import Explaining, explain_batches
from ttame.explaining.explained_batch import Listener, are_wanted
from ttame.files.record_files import read_about, read_records
from ttame.memory_limit import SMALLER_BATCH, naming_the_setting
from ttame.networks.giving_back import gives_everything_back
from ttame.processes import ProcessGroup, noticing_lost_processes
from ttame.reporting.explaining_preparation import (
    facts_of,
    identity_of,
    refuse_lone_contrast,
    what_to_explain,
)
from ttame.reporting.finding_threshold import checked_threshold
from ttame.reporting.growing_report import GrowingReport
from ttame.reporting.report_contents import Pictures, ReportFacts
from ttame.reporting.told_progress import telling_of
from ttame.reporting.unfinished_report import shared_report
from ttame.results.explained_photos import ExplainedPhotos


@noticing_lost_processes()
@gives_everything_back
def explain(
    photos: Any,
    explainers: Explainer | Sequence[Explainer] | Mapping[str, Explainer],
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
    pictures: Pictures = "all",
    scale: str = DEFAULT_SCALE,
    opacity: float = DEFAULT_OPACITY,
    strength: Strength = "own",
    progress: bool = True,
) -> ExplainedPhotos:
    """Explain many photos, and write pictures, maps and a page.

    The photos are read and explained batch by batch, and memory does not grow with their number,
    apart from their names. Several processes, as of ``torchrun``, share the batches. ``out``
    appears at the end, complete, with the files that ``ExplanationReportWriter`` lists. A call that
    is killed leaves its finished batches in a hidden folder next to ``out``; the same call with
    ``resume=True`` continues with them, and writes the same files as one that was never killed.

    Args:
        photos: whatever :func:`ttame.datasets.open_photos.open_photos` takes; or the path of a
            photo or a list of such paths, all of which must be readable. Other photos that cannot
            be read are skipped and listed.
        explainers: one, several in a list, or label to explainer, of the same classifier.
        out: a new folder.
        classes: the classes of every photo: an int, a list of ints, ``"all"``, ``"top3"``, a class
            name or a list of names. If not given, the three most probable ones by one method (two
            of a network with two), and the most probable one by several.
        rather_than: a class: what speaks for ``classes`` rather than for it.
        threshold: the probability from which a finding counts as found, where findings do not
            exclude each other; 0.5 if not given. A photo on which none reaches it is "none of
            them".
        batch_size: photos at a time.
        memory_budget: activations that a method with many passes may hold at a time: bytes, or
            ``"2GiB"``.
        overwrite: replace ``out`` if it is there, once everything is explained.
        resume: continue what an earlier call left, if it left something. If everything was
            finished, nothing is done.
        listener: told how far it is.
        left_out: methods that are not defined for the classifier, with the reason, for the page.
        title: heads the page.
        pictures: ``"all"``, ``"overlays"`` (no panels) or ``"none"``; the page has its own pictures
            in any case.
        scale: one of :func:`ttame.drawing.colour_scales.known_scales`.
        opacity: the opacity of the highest value in the pictures, in [0, 1].
        strength: the strength of the maps in the pictures: ``"own"`` (each has its own scale),
            ``"probability"`` (improbable classes fade) or ``"contrast"`` (where a map is above that
            of the most probable class). The page offers all three.
        progress: whether to show a line that says how far it is; not where there is a listener.

    Returns:
        What was written, in every process.

    Raises:
        OutputError: ``out`` exists and may not be replaced; an earlier call has left unfinished
            work and neither ``overwrite`` nor ``resume`` is set; or that is of something else; or
            another run is writing ``out``.
        ImageError: a photo that was named cannot be read, or none can be read.
        DatasetError: no photos.
        ClassSelectionError: a class that the classifier does not have, or a threshold where
            exactly one class is true.
        UnknownNameError: no such colour scale, pictures or strength.
        LostProcessError: another of several processes has ended.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from ttame.explainers.known_explainers import make_explainer
        >>> from ttame.testing import tiny_classifier
        >>> classifier = tiny_classifier(size=32, classes=2)
        >>> photos = list(torch.randint(256, (3, 3, 32, 32), dtype=torch.uint8))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = explain(photos, make_explainer("grad_cam", classifier), folder + "/why")
        ...     for photo in found.rows():
        ...         print(photo.name, len(photo.classes), photo.files["pictures"])
        item 0 of list 2 ['pictures/item_0_of_list.jpg']
        item 1 of list 2 ['pictures/item_1_of_list.jpg']
        item 2 of list 2 ['pictures/item_2_of_list.jpg']
    """
    explaining = dataclasses.replace(
        what_to_explain(photos, explainers, classes, rather_than, batch_size),
        memory_budget=parse_memory(memory_budget),
    )
    facts = dataclasses.replace(
        facts_of(explaining, title, left_out or {}),
        threshold=checked_threshold(threshold, explaining.classifier),
        pictures=pictures,
        scale=scale,
        opacity=opacity,
        strength=strength,
    )
    refuse_lone_contrast(strength, explaining.classes)
    source = explaining.photos
    names = NameList(source.location(number) for number in range(len(source)))
    out = Path(out)
    processes = ProcessGroup()
    with shared_report(
        out,
        processes,
        lambda: _identity(explaining, facts) if explaining.batches > 1 else {},
        overwrite=overwrite,
        resume=resume,
        is_finished=lambda: _is_finished(out / "explanations.json", explaining, facts, names),
    ) as place:
        if place is not None:
            report = GrowingReport(place, names, facts)
            with (
                naming_the_setting(SMALLER_BATCH),
                telling_of(
                    listener, [*explaining.explainers], len(explaining.photos), progress, "photo"
                ) as told,
            ):
                processes.all(
                    lambda: explain_batches(
                        explaining, report, listener=told, share=processes.share
                    )
                )
                processes.first(report.complete)
    return processes.from_first(lambda: ExplainedPhotos.read(out))


def _identity(explaining: Explaining, facts: ReportFacts) -> dict[str, Any]:
    return {**identity_of(explaining), "threshold": facts.threshold, "drawn": facts.drawn_as()}


def _is_finished(path: Path, explaining: Explaining, facts: ReportFacts, names: NameList) -> bool:
    """Whether a file holds explanations of these photos by these methods already."""
    about = read_about(path, "images")
    wanted = json.loads(json.dumps(facts.as_json(), default=str))
    same = (
        *("methods", "preprocessing", "rather_than", "threshold"),
        *("pictures", "colour_scale", "opacity"),
    )
    if any(about.get(name) != wanted.get(name) for name in same):
        return False
    if about.get("strength", "own") != facts.strength:
        return False
    # Files of before this was written say it in the names of what is explained, and only there.
    unsaid = "rather_than" not in about
    there = {record["name"] for record in read_records(path, "not_explained")}
    for record in read_records(path, "images"):
        there.add(record["name"])
        classes = record["classes"]
        if not are_wanted(explaining.classes, [each["index"] for each in classes]):
            return False
        if unsaid and any(each["name"] != each.get("class", each["name"]) for each in classes):
            return False
    return there == {names[number] for number in range(len(names))}
