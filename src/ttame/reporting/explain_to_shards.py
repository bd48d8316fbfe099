"""The public way to explain any number of photos: maps and numbers in shards, no page of all."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ttame.classifiers.class_selection import ClassSelection
from ttame.datasets.name_list import NameList
from ttame.drawing.colour_scales import DEFAULT_SCALE
from ttame.drawing.heatmap_overlay import DEFAULT_OPACITY
from ttame.drawing.map_strength import Strength
from ttame.errors import ExplainerError, ImageError, OutputError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.memory_budget import DEFAULT_BUDGET, parse_memory
from ttame.explainers.trained.head_provenance import full_provenance
from ttame.explaining.explain_photos import Explaining
from ttame.explaining.explain_stream import explain_stream
from ttame.explaining.explained_batch import Listener
from ttame.files.atomic_writing import write_json
from ttame.files.growing_folder import RESULT
from ttame.files.parquet_files import arrow
from ttame.files.record_files import write_records
from ttame.files.writing_behind import WritingBehind
from ttame.memory_limit import SMALLER_BATCH, naming_the_setting
from ttame.networks.giving_back import gives_everything_back
from ttame.processes import ProcessGroup, noticing_lost_processes
from ttame.reporting.explaining_preparation import (
    facts_of,
    identity_of,
    refuse_lone_contrast,
    what_to_explain,
)
from ttame.reporting.explanation_report import ExplanationReportWriter
from ttame.reporting.growing_shards import (
    GrowingShards,
    Shards,
    finished_shards,
    remove_finished_batches,
)
from ttame.reporting.report_contents import Pictures, ReportFacts
from ttame.reporting.told_progress import telling_of
from ttame.reporting.unfinished_report import shared_report
from ttame.results.explanation_shards import (
    INDEX,
    MANIFEST,
    SCHEMA_VERSION,
    ExplanationShards,
    PhotoExplanations,
    ShardMethod,
    ShardsManifest,
    load_explanations,
)
from ttame.results.shard_tables import PURPOSE, ShardLayout

SHARD_SIZE = 512
"""Photos of a shard: 7 MB with three maps of 28 × 28 and 1000 classes."""

WORKERS = 2
"""Processes that read photos ahead, as in training."""

SAMPLE = 24
"""Photos that are drawn, evenly spread over the data."""


@noticing_lost_processes()
@gives_everything_back
def explain_to_shards(
    photos: Any,
    explainers: Explainer | Sequence[Explainer] | Mapping[str, Explainer],
    out: Path | str,
    *,
    classes: ClassSelection = None,
    rather_than: str | None = None,
    batch_size: int = 8,
    shard_size: int = SHARD_SIZE,
    workers: int = WORKERS,
    memory_budget: str | int = DEFAULT_BUDGET,
    overwrite: bool = False,
    resume: bool = False,
    listener: Listener | None = None,
    left_out: Mapping[str, str] | None = None,
    pictures: Pictures = "none",
    scale: str = DEFAULT_SCALE,
    opacity: float = DEFAULT_OPACITY,
    strength: Strength = "own",
    progress: bool = True,
) -> ExplanationShards:
    """Explain any number of photos, and write the maps and the numbers, in shards.

    This is for more photos than anybody looks through; :func:`ttame.explain` draws each of them,
    and writes pages of them all. Memory does not grow with the number of photos, apart from their
    names. Other processes read the photos, and results are written while the network works. Several
    processes, as of ``torchrun``, share the shards, on one machine or on several with a shared file
    system. ``out`` appears at the end, complete::

        shards/000000.parquet        a row per photo: classes, probabilities, logits, and maps in
                                     half precision of each map's range
        explanations_index.json      the shards, their digests, and the photos that were skipped
        explanations_manifest.json   classifier, methods with the digests of their weights, sizes
        sample/index.html            a page of 24 photos, evenly spread over the data

    :func:`ttame.load_explanations` reads them. A call that is killed loses the batch it was working
    on; the same call with ``resume=True`` continues, and writes the same files, byte for byte, as
    one that was never killed.

    Args:
        photos: as of :func:`ttame.explain`; so are ``explainers``, ``classes``, ``rather_than``,
            ``memory_budget``, ``listener``, ``left_out`` and ``progress``.
        explainers: one, several in a list, or label to explainer, of the same classifier.
        out: a new folder.
        classes: the classes of every photo.
        rather_than: a class: what speaks for ``classes`` rather than for it.
        batch_size: photos at a time.
        shard_size: photos per shard, rounded up to whole batches.
        workers: processes that read photos, for each that explains; 0 reads them in between.
        memory_budget: activations that a method with many passes may hold at a time.
        overwrite: replace ``out`` if it is there, once everything is explained.
        resume: continue what an earlier call left, if it left something.
        listener: told how far it is.
        left_out: methods that are not defined for the classifier, with the reason.
        pictures: as of :func:`ttame.explain`, of the sample; so are ``scale``, ``opacity`` and
            ``strength``.
        scale: the colour scale.
        opacity: the opacity of the highest value.
        strength: the strength of the maps in the pictures.
        progress: whether to show a line that says how far it is.

    Returns:
        What was written, in every process.

    Raises:
        MissingExtraError: pyarrow is not installed.
        OutputError: ``out`` exists and may not be replaced; an earlier call has left unfinished
            work and neither ``overwrite`` nor ``resume`` is set; or that is of something else; or
            another run is writing ``out``.
        ImageError: a photo that was named cannot be read, or none can be read.
        DatasetError: no photos.
        ExplainerError: a size below 1, or fewer than no workers.
        ClassSelectionError: a class that the classifier does not have.
        LostProcessError: another of several processes has ended.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from ttame.explainers.known_explainers import make_explainer
        >>> from ttame.testing import tiny_classifier
        >>> grad_cam = make_explainer("grad_cam", tiny_classifier(size=32, classes=2))
        >>> photos = list(torch.randint(256, (3, 3, 32, 32), dtype=torch.uint8))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for photo in explain_to_shards(photos, grad_cam, folder + "/why", workers=0):
        ...         print(photo.name, photo.explanations["grad_cam"].maps.shape[:2])
        item 0 of list torch.Size([1, 2])
        item 1 of list torch.Size([1, 2])
        item 2 of list torch.Size([1, 2])
    """
    arrow(PURPOSE)
    if shard_size < 1 or workers < 0:
        raise ExplainerError(
            f"shard_size {shard_size}, workers {workers}",
            allowed="1 or more photos per shard, 0 or more workers",
        )
    explaining = dataclasses.replace(
        what_to_explain(photos, explainers, classes, rather_than, batch_size),
        memory_budget=parse_memory(memory_budget),
    )
    facts = dataclasses.replace(
        facts_of(explaining, None, left_out or {}),
        pictures=pictures,
        scale=scale,
        opacity=opacity,
        strength=strength,
    )
    refuse_lone_contrast(strength, explaining.classes)
    out = Path(out)
    run = _run(explaining, facts, shard_size)
    processes = ProcessGroup()
    with shared_report(
        out,
        processes,
        lambda: run if explaining.batches > 1 else {},
        overwrite=overwrite,
        resume=resume,
        is_finished=lambda: load_explanations(out).manifest.run == run,
    ) as place:
        if place is not None:
            with (
                naming_the_setting(SMALLER_BATCH),
                telling_of(
                    listener, [*explaining.explainers], len(explaining.photos), progress, "photo"
                ) as told,
            ):
                processes.all(
                    lambda: _explain(explaining, place, shard_size, workers, told, processes)
                )
                processes.first(lambda: _complete(explaining, facts, place, run))
    return processes.from_first(lambda: load_explanations(out))


def _run(explaining: Explaining, facts: ReportFacts, shard_size: int) -> dict[str, Any]:
    """What a later run must have in common to go on with this one."""
    described = {
        "format": "shards",
        **identity_of(explaining),
        "shard_size": shard_size,
        "drawn": facts.drawn_as(),
    }
    plain: dict[str, Any] = json.loads(json.dumps(described, default=str))
    return plain


def _explain(
    explaining: Explaining,
    place: Path,
    shard_size: int,
    workers: int,
    listener: Listener | None,
    processes: ProcessGroup,
) -> None:
    """Explain this process's share."""
    source, size = explaining.photos, explaining.batch_size
    names = NameList(source.location(number) for number in range(len(source)))
    shards = Shards(len(source), size, -(-shard_size // size))
    with WritingBehind() as writing:
        growing = GrowingShards(place, names, shards, writing)
        growing.close_shards(processes.share.of_batches(shards.count))
        explain_stream(
            explaining, growing, workers=workers, listener=listener, share=processes.share
        )


def _complete(
    explaining: Explaining, facts: ReportFacts, place: Path, run: Mapping[str, Any]
) -> None:
    """Write index, manifest and sample.

    Raises:
        ImageError: none of the photos was readable.
        OutputError: a file of the work folder is damaged.
    """
    result = place / RESULT
    explained, layouts = 0, set()
    for shard in finished_shards(place):
        explained += shard.record.explained
        if shard.layout is not None:
            layouts.add(json.dumps(dataclasses.asdict(shard.layout)))
    if not explained:
        remove_finished_batches(place)  # There is nothing to go on with.
        raise ImageError(
            f"none of the {len(explaining.photos)} photos is readable",
            remedy="JPEG, PNG or WebP files",
        )
    if len(layouts) > 1:
        raise ExplainerError("maps of different sizes of different photos", allowed="one size")
    layout = ShardLayout(**json.loads(layouts.pop()))
    manifest = _manifest(explaining, facts, layout, explained, run)
    write_json(result / MANIFEST, dataclasses.asdict(manifest))
    about = {"schema_version": SCHEMA_VERSION, "photos": len(explaining.photos)}
    records = (dataclasses.asdict(shard.record) for shard in finished_shards(place))
    write_records(result / INDEX, about, {"shards": records})
    _draw_sample(explaining, facts, result)


def _manifest(
    explaining: Explaining,
    facts: ReportFacts,
    layout: ShardLayout,
    explained: int,
    run: Mapping[str, Any],
) -> ShardsManifest:
    classifier, size = explaining.classifier, explaining.batch_size
    preprocessing = classifier.preprocessing
    methods = tuple(
        ShardMethod(
            name=label,
            title=facts.labels[label].title,
            provenance=json.loads(json.dumps(full_provenance(explainer), default=str)),
            map_size=layout.maps[label],
            of_pixels=facts.labels[label].of_pixels,
        )
        for label, explainer in explaining.explainers.items()
    )
    return ShardsManifest(
        schema_version=SCHEMA_VERSION,
        classifier=classifier.name,
        classifier_fingerprint=classifier.fingerprint(),
        outputs=classifier.outputs.kind,
        exclusive=classifier.outputs.exclusive,
        class_names=tuple(classifier.class_names),
        number_of_classes=layout.number_of_classes,
        explained_classes=layout.explained,
        rather_than=facts.rather_than.name if facts.rather_than else None,
        image_size=preprocessing.input_size,
        preprocessing=preprocessing.in_words(),
        crop=preprocessing.crop,
        methods=methods,
        left_out=dict(facts.left_out),
        photos=len(explaining.photos),
        explained=explained,
        photos_per_shard=-(-run["shard_size"] // size) * size,
        run=dict(run),
    )


def _draw_sample(explaining: Explaining, facts: ReportFacts, folder: Path) -> None:
    """Write a page of a few photos, evenly spread over the data."""
    found = load_explanations(folder)
    source, preprocessing = explaining.photos, explaining.classifier.preprocessing
    sample = list(_sample(found, len(source)))
    name = explaining.classifier.name
    with ExplanationReportWriter(
        folder / "sample",
        preprocessing=preprocessing,
        title=f"{len(sample)} of {len(found):,} explained photos: why did {name} say that?",
        labels=facts.labels,
        left_out=facts.left_out,
        scale=facts.scale,
        opacity=facts.opacity,
        pictures=facts.pictures,
    ) as report:
        for photo in sample:
            # A photo that has gone since is not worth losing the shards.
            with contextlib.suppress(ImageError):
                drawn = preprocessing.drawn(source.read(photo.number))
                explanations = list(photo.explanations.values())
                report.add(source.location(photo.number), drawn, explanations)


def _sample(found: ExplanationShards, photos: int) -> Iterator[PhotoExplanations]:
    """A few photos, evenly spread, as far as they were readable."""
    count = min(SAMPLE, photos)
    for place in range(count):
        with contextlib.suppress(OutputError):
            yield found.photo(place * photos // count)
