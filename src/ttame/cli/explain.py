"""``ttame explain``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ttame.cli.network_options import Device, choose_device

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from ttame.classifiers.classifier import Classifier
    from ttame.explainers.explainer import Explainer
    from ttame.reporting.explanation_report import ExplanationReportWriter
    from ttame.results.explanation import Explanation

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
    explainer: Annotated[
        str,
        typer.Option(
            "--explainer", "-e", help="A bundled explainer, a folder, or a hub repository."
        ),
    ] = "efficientnet_lite0",
    classes: Annotated[
        str,
        typer.Option(
            "--classes", "-c", help="top1, top3, all, or names or indices separated by commas."
        ),
    ] = "top3",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for pictures and page.")] = Path(
        "explanations"
    ),
    overwrite: Annotated[bool, typer.Option(help="Replace --out if it exists.")] = False,
    batch_size: Annotated[int, typer.Option(help="Photos at a time.", min=1)] = 8,
    allow_other_weights: Annotated[
        bool,
        typer.Option(help="Explain a classifier with other weights than the head was trained for."),
    ] = False,
    device: Device = "auto",
) -> None:
    """Explain photos: one picture each, the maps, and a page to look at.

    Example: ttame explain photo.jpg --classes "tabby,Egyptian cat" --out why
    """
    from ttame.atomic_writing import refuse_existing
    from ttame.explainers.attention.explainer_folder import load_explainer
    from ttame.reporting.explanation_report import ExplanationReportWriter

    refuse_existing(out, overwrite=overwrite)
    named, found = _photo_paths(images or _sample_photos())
    _refuse_unreadable(named)
    loaded = load_explainer(
        explainer, allow_other_weights=allow_other_weights, device=choose_device(device)
    )
    wanted = parse_classes(classes, loaded.classifier)
    title = f"Why did {loaded.classifier.name} say that?"
    preprocessing = loaded.classifier.preprocessing
    with ExplanationReportWriter(
        out, overwrite=overwrite, title=title, preprocessing=preprocessing
    ) as report:
        explained = _explain_all(loaded, [*named, *found], wanted, batch_size, report)
    _summarise(explained, out)


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


def _explain_all(
    explainer: Explainer,
    paths: list[Path],
    classes: Any,
    batch_size: int,
    report: ExplanationReportWriter,
) -> list[tuple[str, str, str]]:
    """Explain in batches; return (photo, prediction, explained classes) of each."""
    import torch
    from rich.progress import track

    from ttame.errors import ImageError

    rows: list[tuple[str, str, str]] = []
    batches = range(0, len(paths), batch_size)
    show = len(batches) > 1
    preprocessing = explainer.classifier.preprocessing
    for start in track(batches, description="explaining", disable=not show, transient=True):
        opened = list(_open(paths[start : start + batch_size], report))
        if not opened:
            continue
        images: Tensor = torch.stack([preprocessing.prepare(photo) for _, photo in opened])
        explanation = explainer(images, classes)
        for index, (path, photo) in enumerate(opened):
            report.add(str(path), photo, explanation, index)
            top = explanation.logits[index].argmax()[None]
            prediction = _in_words(explanation, index, top)
            rows.append((path.name, prediction, _in_words(explanation, index)))
    if not rows:
        raise ImageError(
            f"none of the {len(paths)} photos is readable", remedy="JPEG, PNG or WebP files"
        )
    return rows


def _in_words(explanation: Explanation, index: int, classes: Tensor | None = None) -> str:
    """Names and probabilities of some classes of one image; of the explained ones by default."""
    shown = explanation.classes[index] if classes is None else classes
    words = [
        f"{explanation.class_label(int(c))} {float(explanation.probabilities[index, int(c)]):.1%}"
        for c in shown[:5]
    ]
    return ", ".join(words) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")


def _open(paths: list[Path], report: ExplanationReportWriter) -> Iterator[tuple[Path, Image.Image]]:
    """The readable photos; the others are named in the report."""
    from ttame.errors import ImageError
    from ttame.photos import read_photo

    for path in paths:
        try:
            yield path, read_photo(path)
        except ImageError as problem:
            report.skip(str(path), str(problem))
            typer.echo(f"skipped: {problem}", err=True)


def _photo_paths(places: list[Path]) -> tuple[list[Path], list[Path]]:
    """The photos that were named, and those found in folders that were named."""
    from ttame.datasets.image_folder import ImageFolder

    named, found = [], []
    for place in places:
        if place.is_dir():
            folder = ImageFolder(place)
            found += [Path(folder.name(index)) for index in range(len(folder))]
        else:
            named.append(place)
    return named, found


def _refuse_unreadable(paths: list[Path]) -> None:
    """A photo that was typed by name must be readable; nothing is written otherwise."""
    from ttame.photos import read_photo

    for path in paths:
        read_photo(path)


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


def _summarise(rows: list[tuple[str, str, str]], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("photo", style="bold", overflow="fold")
    table.add_column("prediction")
    table.add_column("explained")
    for row in rows[:20]:
        table.add_row(*row)
    console = Console()
    console.print(table)
    if len(rows) > 20:
        console.print(f"… and {len(rows) - 20} more")
    # Not through rich: a path must not be wrapped or highlighted.
    typer.echo(f"open {(out / 'index.html').resolve()}")
