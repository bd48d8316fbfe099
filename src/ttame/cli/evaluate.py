"""``ttame evaluate``."""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ttame.cli.network_options import (
    ClassNames,
    CropShare,
    Device,
    ImageSize,
    InterpolationName,
    Mean,
    NetworkOption,
    OptionalModelName,
    OutputsKind,
    Resize,
    Std,
    Taps,
    Weights,
    choose_device,
)
from ttame.errors import EvaluationError

if TYPE_CHECKING:
    from ttame.classifiers.classifier import Classifier
    from ttame.datasets.photo_source import PhotoSource
    from ttame.evaluation.evaluation_run import Targets
    from ttame.evaluation.reproductions import Reproduction
    from ttame.explainers.contract.explainer import Explainer
    from ttame.metrics.protocol import Protocol
    from ttame.results.evaluation import Evaluation

_MEASURING = "The measuring"
_QUICK_METHODS = "grad_cam,layer_cam,random,centre_gaussian"


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
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods",
            help="Names and folders of trained explainers separated by commas, or all. If not "
            f"given, {_QUICK_METHODS}, and the bundled explainer if there is one.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for rows, table and page.")] = (
        Path("evaluation")
    ),
    limit: Annotated[
        int | None,
        typer.Option(help="How many photos, evenly spread over the data.", min=1),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on where an earlier run into --out stopped, or add to it."
        ),
    ] = False,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="t-tame, chefer, chefer-target, adcc, rise or road; t-tame if not given.",
            rich_help_panel=_MEASURING,
            show_default=False,
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            help="Metrics separated by commas, or list to see them; the protocol's if not given.",
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
            help="Repeat a published comparison; list to see them. --model, --methods, --protocol "
            "and --limit change it.",
            rich_help_panel=_MEASURING,
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Photos at a time.", min=1)] = 8,
    memory_budget: Annotated[
        str, typer.Option(help="Activations that a method with many passes may hold at a time.")
    ] = "2GiB",
    option: Annotated[
        list[str] | None,
        typer.Option(help="METHOD.NAME=VALUE; may be given several times.", show_default=False),
    ] = None,
    model: OptionalModelName = None,
    weights: Weights = "default",
    image_size: ImageSize = None,
    taps: Taps = None,
    class_names: ClassNames = None,
    outputs: OutputsKind = None,
    network_option: NetworkOption = None,
    mean: Mean = None,
    std: Std = None,
    interpolation: InterpolationName = None,
    resize: Resize = None,
    crop_share: CropShare = None,
    device: Device = "auto",
) -> None:
    """Find out which method is most faithful on your network and photos.

    Example: ttame evaluate --data photos --methods grad_cam,rise,t_tame --limit 100
    """
    from ttame.cli.chosen_explainers import NamedClassifier
    from ttame.cli.evaluation_display import print_evaluation, print_metrics, print_reproductions
    from ttame.processes import is_first_process

    if metrics == "list":
        print_metrics()
        return
    if reproduce == "list":
        print_reproductions()
        return
    from ttame.explainers.contract.memory_budget import parse_memory

    asked = _asked(reproduce, data, methods, metrics, protocol, model)
    budget = parse_memory(memory_budget)
    photos = _photos(asked.data, asked.setup)
    details = {
        "image_size": image_size,
        "taps": taps,
        "class_names": class_names,
        "outputs": outputs,
        "network_option": network_option or None,
        "mean": mean,
        "std": std,
        "interpolation": interpolation,
        "resize": resize,
        "crop_share": crop_share,
    }
    classifier = NamedClassifier(asked.model, weights, details, choose_device(device)).load()
    lenient = asked.setup is not None and not methods
    explainers, left_out = choose_methods(asked.methods, classifier, option or (), lenient)
    evaluation = _evaluate(
        asked,
        classifier,
        photos,
        explainers,
        out,
        limit=limit,
        batch_size=batch_size,
        annotations=annotations,
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
    methods: str | None,
    metrics: str | None,
    protocol: str | None,
    model: str | None,
) -> _Asked:
    """Check all names before any work.

    Raises:
        UnknownNameError: a name that no registry knows.
        EvaluationError: no data.
    """
    from ttame.cli.chosen_explainers import DEFAULT_MODEL
    from ttame.evaluation.reproductions import known_reproduction
    from ttame.metrics.known_metrics import known_metrics
    from ttame.metrics.known_protocols import DEFAULT_PROTOCOL, known_protocol

    setup = known_reproduction(reproduce) if reproduce else None
    if not data:
        raise EvaluationError("no --data", remedy="--data with a folder of photos")
    measured = _names(metrics) or list(setup.metrics if setup else ())
    known_metrics(measured)
    return _Asked(
        setup=setup,
        data=data,
        model=model or (setup.model if setup else DEFAULT_MODEL),
        methods=_names(methods) or list(setup.methods if setup else ()),
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
    from ttame.cli.evaluation_display import EvaluationProgress
    from ttame.datasets.annotations import fingerprint_of
    from ttame.evaluation.evaluate_methods import evaluate as evaluate_methods
    from ttame.evaluation.gallery import gallery_of
    from ttame.files.printable_names import printable
    from ttame.processes import is_first_process
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


def choose_methods(
    names: Sequence[str],
    classifier: Classifier,
    options: Sequence[str],
    any_will_do: bool,
) -> tuple[dict[str, Explainer], dict[str, str]]:
    """Make the explainers that ``--methods`` names.

    Args:
        names: of methods, folders of trained explainers, or ``all``.
        classifier: the explained network.
        options: as typed behind ``--option``.
        any_will_do: whether a method that is not defined for the classifier is left out.

    Returns:
        Label to explainer, and method to the reason why it is left out.

    Raises:
        UnknownNameError: neither a method nor a folder; with near matches.
        ExplainerError: a named method is not defined for the classifier.
    """
    from ttame.cli.chosen_explainers import parse_method_options
    from ttame.errors import ExplainerError, UnknownNameError
    from ttame.explainers.known_explainers import EXPLAINERS, make_explainer
    from ttame.explainers.trained.explainer_folder import load_explainer
    from ttame.explainers.trained.explainer_places import bundled_explainers, bundled_methods
    from ttame.files.leftovers import put_back
    from ttame.files.printable_names import printable

    wanted = list(names) or [
        *_QUICK_METHODS.split(","),
        *list(bundled_methods(classifier.name))[:1],
    ]
    lenient = any_will_do or not names
    expanded = [name for entry in wanted for name in (EXPLAINERS if entry == "all" else [entry])]
    typed = parse_method_options(options, [name for name in expanded if name in EXPLAINERS])
    made: dict[str, Explainer] = {}
    left_out: dict[str, str] = {}
    for name in dict.fromkeys(expanded):
        if name not in EXPLAINERS:
            put_back(Path(name))
        if name in EXPLAINERS:
            try:
                explainer: Explainer = make_explainer(name, classifier, **typed.get(name, {}))
            except ExplainerError as problem:
                if not lenient and name in wanted:
                    raise
                left_out[name] = problem.problem
                continue
        elif Path(name).is_dir() or name in bundled_explainers():
            explainer = load_explainer(name, classifier=classifier)
            # Two spellings of a folder are one explainer.
            name = name if name in bundled_explainers() else printable(os.path.normpath(name))
        else:
            raise UnknownNameError.of("method or explainer folder", name, [*EXPLAINERS, "all"])
        made[name] = explainer
    return made, left_out


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _photos(data: Sequence[str], setup: Reproduction | None) -> PhotoSource:
    from ttame.datasets.open_photos import open_photos
    from ttame.evaluation.reproductions import listed_photos

    photos = open_photos(list(data))
    return listed_photos(photos, setup.images) if setup else photos


def _targets(
    annotations: Path | None, classifier: Classifier, photos: PhotoSource
) -> Targets | None:
    if annotations is None:
        return None
    from ttame.datasets.annotations import open_annotations

    found = open_annotations(annotations, classifier.preprocessing, classifier.class_names)
    found.check(photos.key(index) for index in range(len(photos)))
    return found
