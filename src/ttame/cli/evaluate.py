"""``ttame evaluate``."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ttame.cli.added_options import with_options
from ttame.cli.chosen_explainers import QUICK_METHODS
from ttame.cli.method_options import MethodOptions, method_parameters, methods_help
from ttame.cli.network_options import (
    DEFAULT_MODEL,
    NamedClassifier,
    OptionalModelName,
    network_parameters,
)
from ttame.errors import EvaluationError
from ttame.files.printable_names import printable

if TYPE_CHECKING:
    from ttame.classifiers.classifier import Classifier
    from ttame.datasets.photo_source import PhotoSource
    from ttame.evaluation.measuring import Targets
    from ttame.evaluation.reproductions import Reproduction
    from ttame.explainers.contract.explainer import Explainer
    from ttame.metrics.protocol import Protocol
    from ttame.results.evaluation import Evaluation

_MEASURING = "Measurement"


_METHODS = methods_help(f"{QUICK_METHODS}, and the bundled explainer if there is one")


@with_options(
    *network_parameters(),
    before={
        "out": method_parameters("methods", panel=None, words={"methods": _METHODS}),
        "model": method_parameters("memory_budget", "option", panel=None),
    },
)
def evaluate(
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            "-d",
            help="Folder of photos, list file of 'path label' lines, or tar shards; may be given "
            "several times.",
            show_default=False,
        ),
    ] = None,
    text_data: Annotated[
        Path | None,
        typer.Option(
            "--text-data",
            help="Texts instead of photos: a .jsonl or .jsonl.gz file, a line per text with id, "
            "label, tokens and rationales (ranges of words that people marked).",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for rows, table and page.")] = (
        Path("evaluation")
    ),
    limit: Annotated[
        int | None,
        typer.Option(help="Number of photos to use, spread evenly over the data.", min=1),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue an earlier run into --out, or add methods to it."),
    ] = False,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="t-tame, chefer, chefer-target, adcc, rise, road or held-ground; t-tame if not "
            "given. Of texts chefer-text, eraser, masked-tokens or removed-tokens; chefer-text if "
            "not given.",
            rich_help_panel=_MEASURING,
            show_default=False,
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            help="Metrics separated by commas; list shows them. If not given, the protocol's.",
            rich_help_panel=_MEASURING,
            show_default=False,
        ),
    ] = None,
    label_class: Annotated[
        list[str] | None,
        typer.Option(
            help="LABEL=CLASS, where names do not say which class a label of --text-data means, "
            "such as pos=1; may be given several times.",
            rich_help_panel=_MEASURING,
            show_default=False,
        ),
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(
            help="Where objects are: a COCO JSON file, a folder of Pascal VOC XML files, or of "
            "mask images.",
            rich_help_panel=_MEASURING,
            show_default=False,
        ),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            help="A second classifier with the same classes, named as for --model: metrics are "
            "measured with its probabilities as well.",
            rich_help_panel=_MEASURING,
            show_default=False,
        ),
    ] = None,
    sanity: Annotated[
        int,
        typer.Option(
            help="Photos on which to check that maps change when the network's weights are "
            "randomised.",
            rich_help_panel=_MEASURING,
            min=0,
        ),
    ] = 0,
    reproduce: Annotated[
        str | None,
        typer.Option(
            help="Repeat a published comparison; list shows them. --model, --methods, --protocol "
            "and --limit change it.",
            rich_help_panel=_MEASURING,
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Photos or texts at a time.", min=1)] = 8,
    model: OptionalModelName = None,
    **typed: Any,
) -> None:
    """Find out which method is most faithful on your network and photos, or texts.

    Example: ttame evaluate --data photos --methods grad_cam,rise,t_tame --limit 100
    """
    from ttame.cli.chosen_explainers import choose_methods
    from ttame.cli.evaluate_texts import TextsAsked, evaluate_text_data
    from ttame.cli.evaluation_display import print_evaluation, print_metrics, print_reproductions
    from ttame.processes import is_first_process

    if metrics == "list":
        print_metrics()
        return
    if reproduce == "list":
        print_reproductions()
        return
    if text_data is not None:
        texts = TextsAsked(
            text_data, out, protocol, metrics, limit, resume, batch_size, label_class or ()
        )
        photos_only = {"data": data, "annotations": annotations, "judge": judge}
        others = {"sanity": sanity, "reproduce": reproduce}
        evaluate_text_data(texts, model, typed, {**photos_only, **others})
        return
    said = MethodOptions.of(typed)
    named = said.method_names()
    asked = _asked(reproduce, data, named, metrics, protocol, model)
    budget = said.memory_budget_in_bytes()
    photos = _photos(asked.data, asked.setup)
    wanted = NamedClassifier.of(model, typed)
    classifier = _classifier(asked, named, wanted)
    lenient = asked.setup is not None and not named
    explainers, left_out = choose_methods(asked.methods, classifier, said.option or (), lenient)
    evaluation = _evaluate(
        asked,
        classifier,
        photos,
        explainers,
        out,
        limit=limit,
        batch_size=batch_size,
        annotations=annotations,
        judge=_judge(judge, classifier, wanted),
        resume=resume,
        left_out=left_out,
        sanity_images=sanity,
        memory_budget=budget,
    )
    if is_first_process():
        print_evaluation(evaluation, out)


@dataclasses.dataclass(frozen=True)
class _Asked:
    """What is to be compared, and how: as typed, or as the reproduction says.

    Attributes:
        setup: the published comparison, if one is repeated.
        data: places of photos, at least one.
        model: name of the network.
        methods: names and folders; empty for a choice that suits the network.
        metrics: names; ``None`` for the protocol's.
        protocol: a preset.
    """

    setup: Reproduction | None
    data: list[str]
    model: str
    methods: list[str]
    metrics: list[str] | None
    protocol: Protocol


def _asked(
    reproduce: str | None,
    data: list[str] | None,
    methods: list[str],
    metrics: str | None,
    protocol: str | None,
    model: str | None,
) -> _Asked:
    """Check all names before any work.

    Raises:
        UnknownNameError: a name that no registry knows.
        EvaluationError: no data.
    """
    from ttame.evaluation.reproductions import known_reproduction
    from ttame.metrics.known_metrics import known_metrics
    from ttame.metrics.known_protocols import DEFAULT_PROTOCOL, known_protocol

    setup = known_reproduction(reproduce) if reproduce else None
    if not data:
        raise EvaluationError(
            "no --data", remedy="--data with a folder of photos, or --text-data with a file"
        )
    measured = _names(metrics) or list(setup.metrics if setup else ())
    known_metrics(measured)
    return _Asked(
        setup=setup,
        data=data,
        model=model or (setup.model if setup else DEFAULT_MODEL),
        methods=methods or list(setup.methods if setup else ()),
        metrics=measured or None,
        protocol=known_protocol(protocol or (setup.protocol if setup else DEFAULT_PROTOCOL)),
    )


def _evaluate(
    asked: _Asked,
    classifier: Classifier,
    photos: PhotoSource,
    explainers: dict[str, Explainer],
    out: Path,
    *,
    annotations: Path | None,
    **options: Any,
) -> Evaluation:
    """Evaluate with a line of progress, and write the page."""
    from ttame.datasets.annotations import fingerprint_of
    from ttame.evaluation.evaluate_methods import evaluate as evaluate_methods
    from ttame.evaluation.gallery import gallery_of
    from ttame.files.printable_names import printable
    from ttame.processes import is_first_process
    from ttame.progress.evaluation_progress import EvaluationProgress
    from ttame.reporting.evaluation_report import write_evaluation_report

    targets = _targets(annotations, classifier, photos)
    with EvaluationProgress(list(explainers), shown=is_first_process()) as progress:
        evaluation = evaluate_methods(
            classifier,
            photos,
            explainers,
            out,
            protocol=asked.protocol,
            metrics=asked.metrics,
            targets=targets,
            annotations=fingerprint_of(annotations) if annotations else "",
            listener=progress,
            published=asked.setup.published if asked.setup else None,
            notes=asked.setup.notes if asked.setup else (),
            data_name=", ".join(Path(place).name or place for place in asked.data),
            **options,
        )
        if is_first_process():
            gallery = gallery_of(evaluation, out, classifier, photos)
            command = printable(shlex.join(["ttame", *sys.argv[1:]]))
            write_evaluation_report(out / "report.html", evaluation, gallery, command=command)
    return evaluation


def _classifier(asked: _Asked, methods: Sequence[str], named: NamedClassifier) -> Classifier:
    """The classifier that was typed, that of an exported file, or that which is asked about."""
    from ttame.cli.chosen_explainers import load_exported
    from ttame.cli.method_options import is_exported_file

    file = next(filter(is_exported_file, methods), None)
    if named.model is None and file is not None:
        return load_exported(file, named).classifier
    return dataclasses.replace(named, model=asked.model).load()


def _judge(name: str | None, classifier: Classifier, named: NamedClassifier) -> Classifier | None:
    """The second classifier, as it comes, on the device of the first."""
    if name is None:
        return None
    from ttame.evaluation.judge import refuse_other_classes

    plain = dict.fromkeys(named.details)
    judge = NamedClassifier(name, "default", plain, named.device).load()
    refuse_other_classes(classifier, judge)
    return judge


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _photos(data: Sequence[str], setup: Reproduction | None) -> PhotoSource:
    from ttame.datasets.open_photos import open_photos
    from ttame.evaluation.reproductions import listed_photos

    photos = open_photos(list(data))
    for note in photos.notes:
        typer.echo(f"ttame: note: {note}", err=True)
    _note_scaling(photos)
    return listed_photos(photos, setup.images) if setup else photos


def _note_scaling(photos: PhotoSource) -> None:
    """Say how greys of more than 8 bits are scaled, by the first photo."""
    from ttame.errors import ImageError
    from ttame.images.band_photo import BandPhoto
    from ttame.images.rgb_conversion import scaling_of

    with contextlib.suppress(ImageError):  # It will be skipped, and named then.
        first = photos.read(0)
        if not isinstance(first, BandPhoto) and scaling_of(first):
            text = f"{photos.name(0)}: {scaling_of(first)}"
            typer.echo(f"ttame: note: {printable(text)}", err=True)


def _targets(
    annotations: Path | None, classifier: Classifier, photos: PhotoSource
) -> Targets | None:
    if annotations is None:
        return None
    from ttame.datasets.annotations import open_annotations

    found = open_annotations(annotations, classifier.preprocessing, classifier.class_names)
    found.check(photos.key(index) for index in range(len(photos)))
    return found
