"""``ttame explain``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from ttame.files.printable_names import printable

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from ttame.classifiers.classifier import Classifier
    from ttame.cli.asked_targets import AskedTargets
    from ttame.cli.chosen_explainers import ChosenExplainers
    from ttame.cli.explanation_display import ExplanationProgress
    from ttame.reporting.explanation_report import ExplanationReportWriter
    from ttame.results.explanation import Explanation

_METHODS = "The methods"

_MOST_OPEN_PIXELS = 200_000_000
"""Of the photos that are open at a time: 800 MB."""

_SAMPLE_PHOTOS = ("chelsea.png", "coffee.png", "rocket.jpg", "astronaut.png")
"""Real photos among scikit-image's data."""


def explain(
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Photos, or folders of photos. Without any, sample photos of scikit-image.",
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="Methods separated by commas, or all; `ttame methods` lists them. "
            "If not given, the trained explainer.",
            rich_help_panel=_METHODS,
            show_default=False,
        ),
    ] = None,
    explainer: Annotated[
        str | None,
        typer.Option(
            "--explainer",
            "-e",
            help="A trained explainer, which brings its classifier: bundled, a folder, or a hub "
            "repository. If not given, efficientnet_lite0.",
            rich_help_panel=_METHODS,
            show_default=False,
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes",
            "-c",
            help="top1, top3, all, or names or indices separated by commas. If not given, top3, "
            "and top1 with several methods.",
            show_default=False,
        ),
    ] = None,
    rather_than: Annotated[
        str | None,
        typer.Option(
            help="A class: what speaks for --classes rather than for it (the difference of the "
            "scores).",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for pictures and page.")] = Path(
        "explanations"
    ),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace --out if it exists.")
    ] = False,
    batch_size: Annotated[int, typer.Option(help="Photos at a time.", min=1)] = 8,
    memory_budget: Annotated[
        str,
        typer.Option(
            help="Activations that a method with many passes may hold at a time.",
            rich_help_panel=_METHODS,
        ),
    ] = "2GiB",
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="METHOD.NAME=VALUE; may be given several times. `ttame methods METHOD` shows "
            "a method's options.",
            rich_help_panel=_METHODS,
            show_default=False,
        ),
    ] = None,
    allow_other_weights: Annotated[
        bool,
        typer.Option(
            "--allow-other-weights",
            help="Explain a classifier with other weights than the head was trained for.",
            rich_help_panel=_METHODS,
        ),
    ] = False,
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
    """Explain photos: pictures, the maps, and a page to look at.

    Example: ttame explain photo.jpg --method grad_cam,t_tame --classes "tabby,Egyptian cat"
    """
    from ttame.cli.asked_targets import AskedTargets
    from ttame.cli.chosen_explainers import (
        NamedClassifier,
        choose_explainers,
        parse_method_options,
        parse_methods,
    )
    from ttame.cli.explanation_display import ExplanationProgress, summarise
    from ttame.cli.methods import short_reasons
    from ttame.explainers.contract.memory_budget import parse_memory
    from ttame.files.atomic_writing import refuse_existing

    refuse_existing(out, overwrite=overwrite)
    named, found = _photo_paths(images or _sample_photos())
    _refuse_unreadable(named)
    budget = parse_memory(memory_budget)
    methods = parse_methods(method)
    options = parse_method_options(option or (), methods)
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
    chosen = choose_explainers(
        methods,
        explainer,
        NamedClassifier(model, weights, details, choose_device(device)),
        options,
        allow_other_weights=allow_other_weights,
    )
    one = len(chosen.explainers) == 1
    most = min(3, chosen.classifier.number_of_classes) if one else 1
    wanted = parse_classes(classes or f"top{most}", chosen.classifier)
    asking = AskedTargets.of(wanted, rather_than, chosen.classifier)
    left_out = short_reasons(chosen.left_out, chosen.classifier.name)
    paths = [*named, *found]
    with (
        _report(out, chosen, left_out, overwrite=overwrite) as report,
        ExplanationProgress(list(chosen.explainers), len(paths)) as progress,
    ):
        explained = _explain_all(
            chosen, paths, asking, budget, batch_size, report, progress, len(named)
        )
    summarise(explained.rows, explained.no_evidence, left_out, out)


def parse_classes(text: str, classifier: Classifier) -> str | list[str] | int:
    """Read ``--classes`` and check it before any work.

    Raises:
        ClassSelectionError: a class that the classifier does not have.
    """
    import torch

    from ttame.classifiers.class_selection import select_classes

    wanted = [part.strip() for part in text.split(",") if part.strip()]
    selection: str | list[str] = wanted[0] if len(wanted) == 1 else wanted
    # A name may itself hold a comma, as in "tench, Tinca tinca".
    if text.strip() in classifier.class_names:
        selection = text.strip()
    blank = torch.zeros(1, classifier.number_of_classes)
    select_classes(selection, blank, classifier.class_names)
    return selection


@dataclasses.dataclass(frozen=True)
class _Explained:
    """What the terminal says in the end: (photo, prediction, explained classes), and remarks."""

    rows: list[tuple[str, str, str]]
    no_evidence: list[str]


def _report(
    out: Path, chosen: ChosenExplainers, left_out: dict[str, str], *, overwrite: bool
) -> ExplanationReportWriter:
    from ttame.reporting.explanation_report import ExplanationReportWriter
    from ttame.reporting.method_label import MethodLabel

    return ExplanationReportWriter(
        out,
        overwrite=overwrite,
        title=f"Why did {chosen.classifier.name} say that?",
        preprocessing=chosen.classifier.preprocessing,
        labels={
            name: MethodLabel(
                explainer.card.title,
                one_map=not explainer.card.class_specific,
                of_pixels=explainer.card.map_is == "pixels",
            )
            for name, explainer in chosen.explainers.items()
        },
        left_out=left_out,
    )


def _explain_all(
    chosen: ChosenExplainers,
    paths: list[Path],
    asking: AskedTargets,
    memory_budget: int,
    batch_size: int,
    report: ExplanationReportWriter,
    progress: ExplanationProgress,
    named: int,
) -> _Explained:
    """Explain batch by batch, each by every method, and write the report.

    The first ``named`` photos were typed by name, and must be readable.
    """
    import torch

    from ttame.errors import ImageError

    explained = _Explained([], [])
    preprocessing = chosen.classifier.preprocessing
    finished = 0
    for opened, skipped in _batches(paths, batch_size, named, report):
        progress.skip(skipped)
        start, finished = finished, finished + len(opened) + skipped
        if not opened:
            continue
        images: Tensor = torch.stack([preprocessing.prepare(photo) for _, photo in opened])
        explanations = _explain_batch(chosen, images, asking, memory_budget, start, progress)
        for index, (path, photo) in enumerate(opened):
            report.add(str(path), photo, explanations, index)
            _remember(explained, path, explanations, index)
    if not explained.rows:
        raise ImageError(
            f"none of the {len(paths)} photos is readable", remedy="JPEG, PNG or WebP files"
        )
    return explained


def _explain_batch(
    chosen: ChosenExplainers,
    images: Tensor,
    asking: AskedTargets,
    memory_budget: int,
    start: int,
    progress: ExplanationProgress,
) -> list[Explanation]:
    """Explain the same targets of the same images by every method."""
    explanations: list[Explanation] = []
    for name, explainer in chosen.explainers.items():
        progress.begin(name, start + 1, len(images))
        explanation = explainer(
            images,
            target=asking.target(explanations[0] if explanations else None),
            memory_budget=memory_budget,
            progress=progress.step,
        )
        # The maps wait on the CPU, so that many methods need no more of a GPU than one.
        explanations.append(explanation.to("cpu"))
        progress.finish()
    return explanations


def _remember(
    explained: _Explained, path: Path, explanations: list[Explanation], index: int
) -> None:
    first = explanations[0]
    top = first.logits[index].argmax()[None]
    name = printable(path.name)
    explained.rows.append((name, _in_words(first, index, top), _in_words(first, index)))
    for explanation in explanations:
        # One remark a photo and method, however many classes it is about.
        blank = [
            explanation.target_label(index, int(place))
            for place in (~explanation.has_evidence[index]).nonzero().flatten()
        ]
        if blank:
            shown = ", ".join(blank[:3]) + (f" and {len(blank) - 3} more" if blank[3:] else "")
            explained.no_evidence.append(f"{explanation.method} in {name} for {shown}")


def _in_words(explanation: Explanation, index: int, classes: Tensor | None = None) -> str:
    """Names and probabilities of some classes of one image; of the explained ones by default."""
    shown = explanation.classes[index] if classes is None else classes
    if classes is None and explanation.target_labels:
        labels = explanation.target_labels[index]
        return ", ".join(labels[:5]) + (f" and {len(labels) - 5} more" if labels[5:] else "")
    words = [
        f"{explanation.class_label(int(c))} {float(explanation.probabilities[index, int(c)]):.1%}"
        for c in shown[:5]
    ]
    return ", ".join(words) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")


_Opened = list[tuple["Path", "Image.Image"]]


def _batches(
    paths: list[Path], size: int, named: int, report: ExplanationReportWriter
) -> Iterator[tuple[_Opened, int]]:
    """The readable photos, at most ``size`` at a time, and how many others were met on the way.

    Photos stay open until they are drawn, so fewer of them come at a time if they are large.
    Unreadable ones are named in the report, unless the user typed their names: that is an error.
    """
    from ttame.errors import ImageError
    from ttame.images.photos import read_photo

    opened: _Opened = []
    pixels = skipped = 0
    for number, path in enumerate(paths):
        try:
            photo = read_photo(path, name=printable(str(path)))
        except ImageError as problem:
            if number < named:
                raise
            report.skip(str(path), str(problem))
            typer.echo(f"skipped: {problem}", err=True)
            skipped += 1
        else:
            coming = photo.width * photo.height
            if opened and pixels + coming > _MOST_OPEN_PIXELS:
                yield opened, skipped
                opened, pixels, skipped = [], 0, 0
            opened.append((path, photo))
            pixels += coming
            del photo
        if len(opened) + skipped == size or number + 1 == len(paths):
            yield opened, skipped
            opened, pixels, skipped = [], 0, 0


def _photo_paths(places: list[Path]) -> tuple[list[Path], list[Path]]:
    """The photos that were named, and those found in folders that were named."""
    from ttame.datasets.image_folder import ImageFolder

    named, found = [], []
    for place in places:
        if place.is_dir():
            folder = ImageFolder(place)
            found += [folder.path(index) for index in range(len(folder))]
        else:
            named.append(place)
    return named, found


def _refuse_unreadable(paths: list[Path]) -> None:
    """A photo that was typed by name must be readable; nothing is written otherwise."""
    from ttame.images.photos import check_photo

    for path in paths:
        check_photo(path, name=printable(str(path)))


def _sample_photos() -> list[Path]:
    """Photos of scikit-image, found without importing it.

    Raises:
        MissingExtraError: it is not installed.
    """
    from importlib.util import find_spec

    from ttame.errors import MissingExtraError

    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        raise MissingExtraError.of("scikit-image", "bundled", "sample photos")
    folder = Path(spec.origin).parent / "data"
    return [folder / name for name in _SAMPLE_PHOTOS if (folder / name).is_file()]
